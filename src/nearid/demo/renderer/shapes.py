"""Categories of solids of revolution and simple parts; each reads the same six proportions in [0, 1]."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Profile = NDArray[np.float64]  # [points, 2]: radius and height, bottom to top
N_PROPORTIONS = 6


@dataclass(frozen=True)
class Part:
    """A piece of an object.

    Attributes:
        surface: `body` carries the markings; `second` and `accent` are plain in the palette's colour of that name.
        points: vertices [n, 3]. normals: unit normals [n, 3]. uv: texture coordinates [n, 2]; u runs around, v upwards.
        faces: vertex indices of triangles [m, 3].
    """

    surface: str
    points: NDArray[np.float64]
    normals: NDArray[np.float64]
    uv: NDArray[np.float64]
    faces: NDArray[np.int64]


@functools.lru_cache(maxsize=64)
def build_parts(category: str, proportions: tuple[float, ...]) -> list[Part]:
    """The parts of one object, standing on z = 0, about 1 high or wide."""
    return CATEGORIES[category](*proportions)


def _mix(low: float, high: float, t: float) -> float:
    return low + (high - low) * t


def _smooth(knots: Sequence[tuple[float, float]], n: int = 18) -> Profile:
    # Catmull-Rom spline through (radius, height) knots: round silhouettes from few numbers.
    p = np.array([knots[0], *knots, knots[-1]], float)
    t = np.linspace(0, len(knots) - 1 - 1e-9, n)
    i, f = t.astype(int), (t % 1)[:, None]
    a, b, c, d = p[i], p[i + 1], p[i + 2], p[i + 3]
    curve = 0.5 * (2 * b + (c - a) * f + (2 * a - 5 * b + 4 * c - d) * f**2 + (3 * b - a - 3 * c + d) * f**3)
    return np.maximum(curve, [[1e-3, -1.0]])


def _straight(knots: Sequence[tuple[float, float]], per_edge: int = 6) -> Profile:
    pieces = [np.linspace(a, b, per_edge) for a, b in itertools.pairwise(knots)]
    return np.maximum(np.concatenate(pieces), [[1e-3, -1.0]])


def _lathe(surface: str, profile: Profile, sides: int = 32, centre: tuple[float, float] = (0.0, 0.0)) -> Part:
    round_body = sides > 12
    edge = np.diff(profile, axis=0)
    arc = np.concatenate([[0.0], np.cumsum(np.linalg.norm(edge, axis=1))])
    v = arc / arc[-1]
    tangent = np.gradient(profile, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-9
    columns = sides if round_body else sides * 2
    # Few sides mean flat faces: each has two columns of vertices of its own, so that normals change at the edge.
    k = np.arange(columns + 1 if round_body else columns)
    turn = k / sides if round_body else (k + 1) // 2 / sides
    facing = turn if round_body else (k // 2 + 0.5) / sides
    angle, normal_angle = 2 * np.pi * turn, 2 * np.pi * facing
    r, z = profile[:, 0][:, None], profile[:, 1][:, None]
    points = np.stack([r * np.cos(angle), r * np.sin(angle), z + 0 * angle], -1)
    normals = np.stack(
        [
            tangent[:, 1:] * np.cos(normal_angle),
            tangent[:, 1:] * np.sin(normal_angle),
            -tangent[:, :1] + 0 * normal_angle,
        ],
        -1,
    )
    uv = np.stack([turn + 0 * z, v[:, None] + 0 * turn], -1)
    rows, width = len(profile), len(turn)
    index = np.arange(rows * width).reshape(rows, width)
    columns_used = slice(0, width - 1) if round_body else slice(0, width - 1, 2)
    a, b = index[:-1, :-1][:, columns_used], index[:-1, 1:][:, columns_used]
    c, d = index[1:, :-1][:, columns_used], index[1:, 1:][:, columns_used]
    faces = np.concatenate([np.stack([a, b, d], -1).reshape(-1, 3), np.stack([a, d, c], -1).reshape(-1, 3)])
    flat = points.reshape(-1, 3)
    flat[:, :2] += centre
    return Part(surface, flat, normals.reshape(-1, 3), uv.reshape(-1, 2), faces)


def _tube(surface: str, path: NDArray[np.float64], radius: float, sides: int = 8) -> Part:
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-9
    side = np.cross(tangent, [0.0, 1.0, 0.0])
    side /= np.linalg.norm(side, axis=1, keepdims=True) + 1e-9
    up = np.cross(side, tangent)
    angle = np.linspace(0, 2 * np.pi, sides + 1)
    normals = side[:, None] * np.cos(angle)[:, None] + up[:, None] * np.sin(angle)[:, None]
    points = path[:, None] + radius * normals
    index = np.arange(len(path) * (sides + 1)).reshape(len(path), -1)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    faces = np.concatenate([np.stack([a, b, d], -1).reshape(-1, 3), np.stack([a, d, c], -1).reshape(-1, 3)])
    uv = np.zeros((index.size, 2))
    return Part(surface, points.reshape(-1, 3), normals.reshape(-1, 3), uv, faces)


def _handle(radius: float, low: float, high: float, reach: float, thick: float, sign: float = 1.0) -> Part:
    t = np.linspace(0, np.pi, 14)
    x = sign * (radius - 0.02 + reach * np.sin(t))
    z = (low + high) / 2 - (high - low) / 2 * np.cos(t)
    return _tube("accent", np.stack([x, 0 * t, z], -1), thick)


def _mug(a: float, b: float, c: float, d: float, e: float, f: float) -> list[Part]:
    h, r0, r1, belly = _mix(0.55, 1.05, a), _mix(0.26, 0.42, b), _mix(0.28, 0.46, c), _mix(-0.06, 0.1, d)
    body = _smooth([(r0, 0), ((r0 + r1) / 2 + belly, h / 2), (r1, h)])
    rim = _straight([(r1, h), (r1 + 0.03, h), (r1 + 0.03, h + 0.05), (r1 - 0.04, h + 0.05), (r1 - 0.06, h - 0.2)])
    reach, span = _mix(0.14, 0.34, e), _mix(0.3, 0.8, f)
    return [
        _lathe("body", body),
        _lathe("second", rim),
        _handle((r0 + r1) / 2 + belly, h * (0.5 - span / 2), h * (0.5 + span / 2), reach, 0.045),
    ]


def _vase(a: float, b: float, c: float, d: float, e: float, f: float) -> list[Part]:
    h = _mix(0.8, 1.25, a)
    knots = [(_mix(0.12, 0.3, b), 0), (_mix(0.26, 0.5, c), h * _mix(0.25, 0.6, d)), (_mix(0.08, 0.24, e), h * 0.82)]
    mouth = _mix(0.12, 0.36, f)
    return [
        _lathe("body", _smooth(knots)),
        _lathe("second", _smooth([knots[-1], (mouth, h), (mouth - 0.04, h - 0.02)], 10)),
    ]


def _bottle(a: float, b: float, c: float, d: float, e: float, f: float) -> list[Part]:
    h, r, neck, shoulder = _mix(0.55, 0.85, a), _mix(0.2, 0.38, b), _mix(0.06, 0.14, c), _mix(0.08, 0.3, d)
    top, cap = h + shoulder, _mix(0.08, 0.25, e)
    return [
        _lathe("body", _straight([(r * _mix(0.8, 1.05, f), 0), (r, h)], 14)),
        _lathe("second", _smooth([(r, h), (r * 0.75, h + shoulder * 0.5), (neck, top), (neck, top + 0.12)], 14)),
        _lathe(
            "accent", _straight([(neck + 0.03, top + 0.08), (neck + 0.03, top + 0.08 + cap), (0, top + 0.08 + cap)])
        ),
    ]


def _bowl(a: float, b: float, c: float, d: float, e: float, f: float) -> list[Part]:
    h, r, foot = _mix(0.32, 0.6, a), _mix(0.45, 0.65, b), _mix(0.16, 0.32, c)
    z0 = _mix(0.03, 0.2, e)
    knots = [(foot, z0), (r * _mix(0.7, 1.02, d), z0 + h * 0.45), (r, z0 + h)]
    inner = _smooth(
        [(r, z0 + h), (r - 0.05, z0 + h + _mix(0.0, 0.06, f)), (r * 0.6, z0 + h * 0.4), (0, z0 + h * 0.3)], 12
    )
    return [
        _lathe("body", _smooth(knots)),
        _lathe("second", inner),
        _lathe("accent", _straight([(foot + 0.06, 0), (foot, z0)])),
    ]


def _teapot(a: float, b: float, c: float, d: float, e: float, f: float) -> list[Part]:
    h, r = _mix(0.5, 0.8, a), _mix(0.34, 0.5, b)
    body = _smooth([(r * _mix(0.5, 0.85, c), 0), (r, h * _mix(0.35, 0.6, d)), (r * 0.45, h)])
    t = np.linspace(0, 1, 10)
    reach = _mix(0.25, 0.45, e)
    spout = np.stack([-(r * 0.85 + reach * t), 0 * t, h * (0.35 + _mix(0.4, 0.75, f) * t**1.6)], -1)
    lid = _smooth([(r * 0.47, h), (r * 0.3, h + 0.09), (0.05, h + 0.12), (0.08, h + 0.19), (0, h + 0.23)], 14)
    return [
        _lathe("body", body),
        _tube("second", spout, 0.06),
        _lathe("accent", lid),
        _handle(r * 0.85, h * 0.2, h * 0.85, reach * 0.8, 0.045),
    ]


def _lamp(a: float, b: float, c: float, d: float, e: float, f: float) -> list[Part]:
    pole, shade_h = _mix(0.3, 0.7, a), _mix(0.35, 0.6, b)
    low, top = _mix(0.32, 0.52, c), _mix(0.14, 0.36, d)
    foot = _mix(0.18, 0.36, e)
    z = pole
    base = _smooth([(foot, 0), (foot, 0.06), (0.05, 0.12 + 0.1 * f), (0.04, z + 0.1)], 14)
    return [
        _lathe("second", base),
        _lathe("body", _straight([(low, z), (top, z + shade_h)], 16)),
        _lathe(
            "accent",
            _straight(
                [(top, z + shade_h), (0.06, z + shade_h + 0.03), (0.05, z + shade_h + 0.12), (0, z + shade_h + 0.12)], 4
            ),
        ),
    ]


def _rocket(a: float, b: float, c: float, d: float, e: float, f: float) -> list[Part]:
    h, r = _mix(0.6, 0.95, a), _mix(0.16, 0.3, b)
    z = 0.14
    nose = _mix(0.2, 0.5, c)
    parts = [
        _lathe("body", _smooth([(r * _mix(0.7, 1.05, d), z), (r * 1.1, z + h / 2), (r, z + h)])),
        _lathe("accent", _smooth([(r, z + h), (r * 0.7, z + h + nose * 0.5), (0, z + h + nose)], 12)),
        _lathe("second", _straight([(r * 0.7, 0), (r * 0.6, z)], 4)),
    ]
    fin = _mix(0.16, 0.34, e)
    for turn in np.arange(4) * np.pi / 2 + 0.4:
        x, y = np.cos(turn), np.sin(turn)
        triangle = np.array([[r * 0.9, z + _mix(0.25, 0.55, f)], [r + fin, 0.0], [r * 0.8, z]])
        outline = np.array([[q * x, q * y, height] for q, height in triangle])
        side = np.array([-y, x, 0.0])
        points = np.concatenate([outline + 0.02 * side, outline - 0.02 * side])
        normals = np.concatenate([np.tile(side, (3, 1)), np.tile(-side, (3, 1))])
        faces = np.array([[0, 1, 2], [3, 5, 4], [0, 3, 4], [0, 4, 1], [1, 4, 5], [1, 5, 2]])
        parts.append(Part("second", points, normals, np.zeros((6, 2)), faces))
    return parts


def _drum(a: float, b: float, c: float, d: float, e: float, f: float) -> list[Part]:
    h, r, hoop = _mix(0.4, 0.9, a), _mix(0.36, 0.55, b), _mix(0.04, 0.12, c)
    bulge = _mix(-0.08, 0.08, d)
    taper = _mix(0.8, 1.0, e)
    return [
        _lathe("body", _smooth([(r * taper, hoop), (r * (1 + taper) / 2 + bulge, h / 2), (r, h)])),
        _lathe("accent", _straight([(r * taper + 0.05, 0), (r * taper + 0.05, hoop)], 4)),
        _lathe("accent", _straight([(r + 0.05, h), (r + 0.05, h + hoop), (r, h + hoop)], 4)),
        _lathe("second", _straight([(r + 0.02, h + hoop - 0.01), (0, h + hoop + _mix(-0.01, 0.08, f))], 4)),
    ]


def _mushroom(a: float, b: float, c: float, d: float, e: float, f: float) -> list[Part]:
    stem, r0, r1 = _mix(0.3, 0.65, a), _mix(0.12, 0.26, b), _mix(0.1, 0.2, c)
    cap_r, cap_h = _mix(0.38, 0.6, d), _mix(0.22, 0.6, e)
    cap = _smooth([(cap_r, stem), (cap_r * _mix(0.75, 0.98, f), stem + cap_h * 0.5), (0.02, stem + cap_h)])
    under = _straight([(r1, stem + 0.04), (cap_r, stem)], 5)
    return [
        _lathe("second", _smooth([(r0, 0), (r1, stem * 0.5), (r1, stem + 0.05)], 10)),
        _lathe("accent", under),
        _lathe("body", cap),
    ]


def _hat(a: float, b: float, c: float, d: float, e: float, f: float) -> list[Part]:
    h, r0, r1 = _mix(0.4, 0.9, a), _mix(0.26, 0.4, b), _mix(0.22, 0.46, c)
    brim, band = r0 + _mix(0.14, 0.34, d), _mix(0.06, 0.16, e)
    return [
        _lathe("second", _smooth([(brim, _mix(0.0, 0.1, f)), (r0 + 0.05, 0.03), (r0, 0.04)], 10)),
        _lathe("accent", _straight([(r0 + 0.015, 0.03), (r0 + 0.015, 0.03 + band)], 4)),
        _lathe("body", _straight([(r0, 0.03 + band), (r1, h)], 14)),
        _lathe("second", _straight([(r1, h), (0, h + 0.02)], 4)),
    ]


def _gift(a: float, b: float, c: float, d: float, e: float, f: float) -> list[Part]:
    h, r, lid = _mix(0.4, 0.95, a), _mix(0.42, 0.62, b), _mix(0.08, 0.22, c)
    taper = _mix(0.75, 1.0, d)
    loop = _mix(0.1, 0.22, e)
    t = np.linspace(0, 2 * np.pi, 16)
    top = h + lid
    bows = [
        _tube(
            "accent",
            np.stack([sign * loop * (1 - np.cos(t)), 0 * t, top + 0.02 + 0.6 * loop * (1 + np.sin(t))], -1),
            0.04,
        )
        for sign in (-1, 1)
    ]
    return [
        _lathe("body", _straight([(r * taper, 0), (r, h)], 14), 4),
        _lathe("second", _straight([(r + 0.05, h), (r + 0.05, top), (0, top + 0.15 * f)], 5), 4),
        *bows,
    ]


def _house(a: float, b: float, c: float, d: float, e: float, f: float) -> list[Part]:
    h, r, roof = _mix(0.35, 0.7, a), _mix(0.42, 0.6, b), _mix(0.2, 0.6, c)
    eave = r + _mix(0.04, 0.16, d)
    chimney = _straight([(0.09, h), (0.09, h + roof * _mix(0.7, 1.2, e)), (0, h + roof * _mix(0.7, 1.2, e))], 4)
    return [
        _lathe("body", _straight([(r, 0), (r * _mix(0.85, 1.0, f), h)], 14), 4),
        _lathe("second", _straight([(eave, h), (0.02, h + roof)], 8), 4),
        _lathe("accent", chimney, 4, (0.2, -0.12)),
    ]


def _barrel(a: float, b: float, c: float, d: float, e: float, f: float) -> list[Part]:
    h, r, bulge = _mix(0.6, 1.05, a), _mix(0.24, 0.42, b), _mix(0.02, 0.16, c)
    top = r * _mix(0.8, 1.1, d)
    body = _smooth([(r, 0), ((r + top) / 2 + bulge, h / 2), (top, h)])
    thick, place = _mix(0.03, 0.07, e), _mix(0.08, 0.3, f)
    hoops = []
    for z in (place, 1 - place):
        radius = float(np.interp(z * h, body[:, 1], body[:, 0])) + 0.02
        hoops.append(_lathe("accent", _straight([(radius, z * h - thick), (radius, z * h + thick)], 4)))
    return [_lathe("body", body), _lathe("second", _straight([(top, h), (0, h - 0.02)], 4)), *hoops]


def _top(a: float, b: float, c: float, d: float, e: float, f: float) -> list[Part]:
    h, r, waist = _mix(0.5, 0.8, a), _mix(0.4, 0.6, b), _mix(0.4, 0.65, c)
    body = _smooth(
        [(0.05, 0.05), (r * _mix(0.5, 0.8, d), h * waist * 0.5), (r, h * waist), (r * 0.7, h * 0.85), (0.12, h)]
    )
    pin = _mix(0.15, 0.4, e)
    knob = _mix(0.05, 0.12, f)
    return [
        _lathe("body", body),
        _lathe("accent", _straight([(0.06, h - 0.02), (0.05, h + pin), (knob, h + pin + 0.03), (0, h + pin + 0.1)], 4)),
        _lathe("second", _straight([(0.0, 0.0), (0.09, 0.1)], 4)),
    ]


def _lantern(a: float, b: float, c: float, d: float, e: float, f: float) -> list[Part]:
    h, r, foot = _mix(0.45, 0.85, a), _mix(0.24, 0.4, b), _mix(0.05, 0.16, c)
    roof = _mix(0.12, 0.4, d)
    ring = _mix(0.08, 0.18, e)
    top = foot + h + roof
    t = np.linspace(0, 2 * np.pi, 16)
    return [
        _lathe("second", _straight([(r + 0.08, 0), (r + 0.04, foot)], 4), 6),
        _lathe("body", _straight([(r, foot), (r * _mix(0.75, 1.1, f), foot + h)], 14), 6),
        _lathe("second", _straight([(r * 1.25, foot + h), (0.05, top)], 6), 6),
        _tube("accent", np.stack([ring * np.sin(t), 0 * t, top + ring * (1 - np.cos(t))], -1), 0.03),
    ]


def _bell(a: float, b: float, c: float, d: float, e: float, f: float) -> list[Part]:
    h, r, top = _mix(0.55, 0.95, a), _mix(0.38, 0.56, b), _mix(0.12, 0.26, c)
    z = 0.08
    body = _smooth([(r, z), (r * _mix(0.62, 0.85, d), z + h * 0.35), (top * 1.3, z + h * 0.8), (top, z + h)])
    lip = _straight([(r, z), (r + _mix(0.02, 0.1, e), z - 0.05), (r - 0.05, z - 0.08)], 4)
    handle = _mix(0.15, 0.4, f)
    knob = _smooth(
        [
            (top, z + h),
            (0.07, z + h + 0.04),
            (0.07, z + h + handle),
            (0.1, z + h + handle + 0.06),
            (0, z + h + handle + 0.12),
        ],
        14,
    )
    return [_lathe("body", body), _lathe("second", lip), _lathe("accent", knob)]


def _cake(a: float, b: float, c: float, d: float, e: float, f: float) -> list[Part]:
    h0, r0, h1 = _mix(0.28, 0.55, a), _mix(0.42, 0.6, b), _mix(0.16, 0.4, c)
    r1 = r0 * _mix(0.45, 0.8, d)
    candle = _mix(0.15, 0.4, e)
    z = h0 + h1
    return [
        _lathe("body", _straight([(r0, 0), (r0 * _mix(0.88, 1.0, f), h0)], 14)),
        _lathe("accent", _straight([(r0 * 1.02, h0 - 0.04), (r0 * 1.02, h0 + 0.02), (r1, h0 + 0.02)], 4)),
        _lathe("second", _straight([(r1, h0), (r1, z), (0, z + 0.02)], 5)),
        _lathe("accent", _straight([(0.05, z), (0.05, z + candle), (0, z + candle + 0.06)], 4)),
    ]


CATEGORIES: dict[str, Callable[..., list[Part]]] = {
    "mug": _mug,
    "vase": _vase,
    "bottle": _bottle,
    "bowl": _bowl,
    "teapot": _teapot,
    "lamp": _lamp,
    "rocket": _rocket,
    "drum": _drum,
    "mushroom": _mushroom,
    "hat": _hat,
    "gift box": _gift,
    "house": _house,
    "barrel": _barrel,
    "spinning top": _top,
    "lantern": _lantern,
    "bell": _bell,
    "cake": _cake,
}
