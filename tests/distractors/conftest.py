import sys
from pathlib import Path

# The data stage's fixtures make the positives that this stage starts from.
sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
