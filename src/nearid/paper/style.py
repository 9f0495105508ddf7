"""One look for all figures: readable in print, in colours that colour-blind readers can tell apart."""

from __future__ import annotations

import io
import operator
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, SupportsIndex

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from numpy.typing import NDArray
from PIL import Image

from nearid.config.schema.paper import Style
from nearid.io.files import replacing, write_bytes
from nearid.layout import Layout

# Okabe and Ito's palette, without its yellow, which is too faint on white paper; black last.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
WARNING = "#D55E00"
MUTED = "#666666"


@dataclass(frozen=True)
class Look:
    """What a figure's `style` may change; sizes in inches and points."""

    width_in: float = 7.0
    height_in: float | None = None
    dpi: int = 200
    font_size: float = 8.0
    marker_size: float = 36.0
    palette: Sequence[str] = PALETTE
    frame_ms: int = 180

    @classmethod
    def of(cls, style: Style) -> Look:
        """The look of a figure's `style`."""
        return cls(**style.model_dump(exclude_none=True))

    def colour(self, index: SupportsIndex) -> str:
        """A colour of the palette, which is repeated as needed."""
        return self.palette[operator.index(index) % len(self.palette)]

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Matplotlib's settings for this look, whatever the user's own are."""
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(
                {
                    "font.size": self.font_size,
                    # Names are no formulas: a single $ in a user's name would make drawing fail.
                    "text.parse_math": False,
                    "axes.titlesize": self.font_size + 1,
                    "axes.labelsize": self.font_size,
                    "legend.fontsize": self.font_size,
                    "legend.frameon": False,
                    "axes.spines.top": False,
                    "axes.spines.right": False,
                    "axes.linewidth": 0.6,
                    "xtick.labelsize": self.font_size - 1,
                    "ytick.labelsize": self.font_size - 1,
                    "xtick.major.width": 0.6,
                    "ytick.major.width": 0.6,
                    "lines.linewidth": 1.2,
                    # Type 42 fonts stay text in the PDF: journals ask for it.
                    "pdf.fonttype": 42,
                }
            )
            yield

    def fit_labels(self, texts: Iterable[str], least_in: float) -> tuple[float, float]:
        """Inches for a column of labels, and their font size, reduced if they need over a third of the figure."""
        font = FontProperties(size=self.font_size)
        points = [text_to_path.get_text_width_height_descent(text, font, ismath=False)[0] for text in texts]
        # A tenth more: at a low resolution letters are drawn wider than their outlines.
        wanted_in, most_in = 1.1 * max(points, default=0) / 72, self.width_in / 3
        return min(max(least_in, wanted_in), most_in), self.font_size * min(1, most_in / max(wanted_in, 1e-9))

    def canvas(self, height_in: float, layout: Literal["constrained"] | None = "constrained") -> Figure:
        """An empty figure of this look, `height_in` high unless the style says otherwise."""
        figure = Figure((self.width_in, self.height_in or height_in), layout=layout)
        FigureCanvasAgg(figure)
        return figure


def save_figure(figure: Figure, name: str, layout: Layout, look: Look) -> None:
    """Write a figure as PDF and PNG; equal content gives equal bytes."""
    for suffix, metadata in (("pdf", {"CreationDate": None}), ("png", {"Software": None})):
        with replacing(layout.figure(name, suffix)) as private:
            figure.savefig(private, format=suffix, dpi=look.dpi, metadata=metadata)


def draw_pixels(figure: Figure, dpi: int) -> NDArray[np.uint8]:
    """The figure as an image [h, w, 3]."""
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def save_animation(frames: Iterable[NDArray[np.uint8]], name: str, layout: Layout, frame_ms: int) -> None:
    """Write images [h, w, 3] as an endless GIF that rests on its last frame."""
    images = [Image.fromarray(frame) for frame in frames]
    # One palette for all, so that colours do not flicker.
    palette = images[-1].quantize(128, method=Image.Quantize.MEDIANCUT)
    indexed = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    durations = [frame_ms] * (len(indexed) - 1) + [10 * frame_ms]
    buffer = io.BytesIO()
    indexed[0].save(buffer, "GIF", save_all=True, append_images=indexed[1:], duration=durations, loop=0)
    write_bytes(layout.figure(name, "gif"), buffer.getvalue())
