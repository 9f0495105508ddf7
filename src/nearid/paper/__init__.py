"""The last stage: tables, figures, the comparison with the paper, the page and the manifest."""
