"""The renderer: VTK without a display, one window per process, reused for every picture."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

# Off-screen rendering by EGL; otherwise VTK looks for a display first and warns. Must be set before VTK is loaded.
os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")

# The few classes needed, from their own modules: `import vtk` loads everything and takes seconds.
import vtkmodules.vtkRenderingOpenGL2  # noqa: F401  (registers the OpenGL back end)
from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray, vtk_to_numpy
from vtkmodules.vtkCommonCore import vtkPoints, vtkUnsignedCharArray
from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkImageData, vtkPolyData
from vtkmodules.vtkFiltersSources import vtkConeSource, vtkCubeSource, vtkCylinderSource, vtkSphereSource
from vtkmodules.vtkRenderingCore import (
    vtkActor,
    vtkLight,
    vtkPolyDataMapper,
    vtkRenderer,
    vtkRenderWindow,
    vtkTexture,
)

from nearid.demo.renderer.scenes import Clutter, Scene
from nearid.demo.renderer.shapes import Part

SUPERSAMPLING = 2
VIEW_ANGLE_DEG = 26.0
DISTANCE = 3.2

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Pose:
    """How the camera sees the object.

    Attributes:
        yaw: the object's rotation, radians. elevation: of the camera, radians.
        zoom: size of the object. shift: where it sits in the frame, in object sizes (right, up).
    """

    yaw: float
    elevation: float
    zoom: float
    shift: tuple[float, float]


class Stage:
    """A window of fixed size, which renders scenes and objects into arrays."""

    def __init__(self, size_px: int) -> None:
        self.size_px = size_px
        self._renderer = vtkRenderer()
        self._renderer.AutomaticLightCreationOff()
        self._window = vtkRenderWindow()
        self._window.SetOffScreenRendering(1)
        self._window.SetMultiSamples(0)
        self._window.SetAlphaBitPlanes(1)
        self._window.SetSize(size_px * SUPERSAMPLING, size_px * SUPERSAMPLING)
        self._window.AddRenderer(self._renderer)
        self._pixels = vtkUnsignedCharArray()

    def render_scene(self, scene: Scene, pose: Pose) -> Image:
        """The surroundings without the object, with the soft shadow that every object has; [size, size, 3]."""
        actors = [
            _plane([(-4, -3, 0), (4, -3, 0), (-4, 2.2, 0)], scene.floor, scene.ambient, (3.0, 2.0)),
            _plane([(-4, 2.2, 0), (4, 2.2, 0), (-4, 2.2, 3.2)], scene.wall, scene.ambient, (3.0, 1.2)),
            _shadow(pose.zoom),
            *(_clutter_actor(item, scene.ambient) for item in scene.clutter),
        ]
        return self._shoot(actors, scene, pose)[..., :3]

    def render_object(
        self,
        parts: Sequence[Part],
        body_texture: Image,
        colours: NDArray[np.float64],
        scene: Scene,
        pose: Pose,
        scale: float = 1.0,
    ) -> Image:
        """The object alone under the scene's light; premultiplied RGBA [size, size, 4].

        Args:
            parts: see `shapes.build_parts`. body_texture: see `markings.paint_body`.
            colours: RGB of the surfaces `second` and `accent` [2, 3].
            scale: a further factor on the object's size.
        """
        fitted = fit_scale(parts) * pose.zoom * scale
        actors = []
        for part in parts:
            actor = _mesh_actor(part, scene.ambient)
            if part.surface == "body":
                actor.SetTexture(_texture(body_texture, repeat=True))
            else:
                actor.GetProperty().SetColor(*colours[0 if part.surface == "second" else 1])
            actors.append(_place(actor, fitted, pose.yaw))
        return self._shoot(actors, scene, pose)

    def render_region(
        self,
        parts: Sequence[Part],
        body_region: NDArray[np.bool_],
        surfaces: Sequence[str],
        scene: Scene,
        pose: Pose,
        scale: float = 1.0,
    ) -> NDArray[np.bool_]:
        """Where a part of the object is visible; [size, size].

        Args:
            body_region: the part of the body's texture that counts [96, 192].
            surfaces: further surfaces that count as a whole, of `second` and `accent`.
        """
        flat = np.repeat(body_region[..., None].astype(np.uint8) * 255, 3, axis=2)
        fitted = fit_scale(parts) * pose.zoom * scale
        actors = []
        for part in parts:
            actor = _mesh_actor(part, ambient=1.0, diffuse=0.0)
            if part.surface == "body":
                actor.SetTexture(_texture(flat, repeat=True))
            else:
                actor.GetProperty().SetColor(*([1.0] * 3 if part.surface in surfaces else [0.0] * 3))
            actors.append(_place(actor, fitted, pose.yaw))
        return self._shoot(actors, scene, pose, tint=False)[..., 0] > 127

    def _shoot(self, actors: Sequence[vtkActor], scene: Scene, pose: Pose, tint: bool = True) -> Image:
        renderer = self._renderer
        renderer.RemoveAllViewProps()
        renderer.RemoveAllLights()
        for actor in actors:
            renderer.AddActor(actor)
        renderer.AddLight(_light(scene, tint))
        camera = renderer.GetActiveCamera()
        right, up = pose.shift
        target = np.array([-right, 0.0, 0.5 - up])
        back = np.array([0.0, -np.cos(pose.elevation), np.sin(pose.elevation)])
        camera.SetFocalPoint(*target)
        camera.SetPosition(*(target + DISTANCE * back))
        camera.SetViewUp(0, 0, 1)
        camera.SetViewAngle(VIEW_ANGLE_DEG)
        camera.SetClippingRange(0.5, 20.0)
        self._window.Render()
        side = self.size_px * SUPERSAMPLING
        # The stubs know only the overload with a blend flag.
        self._window.GetRGBACharPixelData(0, 0, side - 1, side - 1, 0, self._pixels)  # type: ignore[call-overload]
        pixels = vtk_to_numpy(self._pixels).reshape(side, side, 4)[::-1]
        return cv2.resize(np.ascontiguousarray(pixels), (self.size_px, self.size_px), interpolation=cv2.INTER_AREA)


@functools.lru_cache(maxsize=4)
def open_stage(size_px: int) -> Stage:
    """The process's stage of this size; processes must not share a window, so each opens its own."""
    return Stage(size_px)


def fit_scale(parts: Sequence[Part]) -> float:
    """The factor that scales an object's larger extent to 1: its height, or its width without thin protruding parts."""
    points = np.concatenate([part.points for part in parts])
    radius = np.hypot(points[:, 0], points[:, 1])
    return float(1.0 / max(np.ptp(points[:, 2]), 1.7 * np.percentile(radius, 75), 1.5 * radius.max()))


def project_box(parts: Sequence[Part], pose: Pose) -> NDArray[np.float64]:
    """Height and width [2] of the silhouette's bounding box, in units of the image plane, without rendering."""
    points = np.concatenate([part.points for part in parts]) * fit_scale(parts) * pose.zoom
    cosine, sine = np.cos(pose.yaw), np.sin(pose.yaw)
    x = points[:, 0] * cosine - points[:, 1] * sine
    y = points[:, 0] * sine + points[:, 1] * cosine
    z = points[:, 2] - 0.5
    depth = DISTANCE + y * np.cos(pose.elevation) - z * np.sin(pose.elevation)
    height = (y * np.sin(pose.elevation) + z * np.cos(pose.elevation)) / depth
    return np.array([np.ptp(height), np.ptp(x / depth)])


def composite(scene: Image, item: Image) -> Image:
    """Put a premultiplied RGBA object [h, w, 4] over a scene [h, w, 3]."""
    alpha = item[..., 3:].astype(np.float32) / 255
    return np.clip(np.round(item[..., :3] + scene * (1 - alpha)), 0, 255).astype(np.uint8)


def _light(scene: Scene, tint: bool) -> vtkLight:
    light = vtkLight()
    light.SetPosition(*(10 * np.array(scene.light)))
    light.SetFocalPoint(0, 0, 0)
    light.SetColor(*(scene.tint if tint else (1.0, 1.0, 1.0)))
    return light


def _place(actor: vtkActor, scale: float, yaw: float) -> vtkActor:
    actor.SetScale(scale, scale, scale)
    actor.RotateZ(float(np.degrees(yaw)))
    return actor


def _mesh_actor(part: Part, ambient: float, diffuse: float = 0.75) -> vtkActor:
    mesh = vtkPolyData()
    points = vtkPoints()
    points.SetData(numpy_to_vtk(np.ascontiguousarray(part.points, np.float32), deep=True))
    mesh.SetPoints(points)
    cells = vtkCellArray()
    offsets = np.arange(0, 3 * len(part.faces) + 1, 3, dtype=np.int64)
    cells.SetData(
        numpy_to_vtkIdTypeArray(offsets, deep=True),
        numpy_to_vtkIdTypeArray(np.ascontiguousarray(part.faces.ravel(), np.int64), deep=True),
    )
    mesh.SetPolys(cells)
    mesh.GetPointData().SetNormals(numpy_to_vtk(np.ascontiguousarray(part.normals, np.float32), deep=True))
    mesh.GetPointData().SetTCoords(numpy_to_vtk(np.ascontiguousarray(part.uv, np.float32), deep=True))
    mapper = vtkPolyDataMapper()
    mapper.SetInputData(mesh)
    return _lit_actor(mapper, ambient, diffuse)


def _lit_actor(mapper: vtkPolyDataMapper, ambient: float, diffuse: float = 0.75) -> vtkActor:
    actor = vtkActor()
    actor.SetMapper(mapper)
    surface = actor.GetProperty()
    surface.SetInterpolationToPhong()
    surface.SetAmbient(ambient)
    surface.SetDiffuse(diffuse)
    surface.SetSpecular(0.0)
    return actor


def _texture(pixels: Image, repeat: bool) -> vtkTexture:
    height, width, channels = pixels.shape
    image = vtkImageData()
    image.SetDimensions(width, height, 1)
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(pixels).reshape(-1, channels), deep=True))
    texture = vtkTexture()
    texture.SetInputDataObject(image)
    texture.InterpolateOn()
    texture.SetRepeat(repeat)
    return texture


def _plane(
    corners: Sequence[tuple[float, float, float]], pixels: Image, ambient: float, tiles: tuple[float, float]
) -> vtkActor:
    origin, right, up = (np.array(corner, float) for corner in corners)
    normal = np.cross(right - origin, up - origin)
    points = np.array([origin, right, right + up - origin, up])
    uv = np.array([[0, 0], [tiles[0], 0], [tiles[0], tiles[1]], [0, tiles[1]]])
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    part = Part("plane", points, np.tile(normal / np.linalg.norm(normal), (4, 1)), uv, faces)
    actor = _mesh_actor(part, ambient)
    actor.SetTexture(_texture(pixels, repeat=True))
    return actor


def _shadow(zoom: float) -> vtkActor:
    # The same soft blob for every object, so that the shadow reveals nothing about the instance.
    side = np.linspace(-1, 1, 64)
    distance = np.hypot(*np.meshgrid(side, side))
    alpha = np.clip(1 - distance, 0, 1) ** 0.8 * 170
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[..., 3] = alpha
    half = 0.55 * zoom
    corners = np.array([[-half, -half, 0.004], [half, -half, 0.004], [half, half, 0.004], [-half, half, 0.004]])
    uv = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    part = Part("plane", corners, np.tile([0.0, 0, 1], (4, 1)), uv, np.array([[0, 1, 2], [0, 2, 3]]))
    actor = _mesh_actor(part, ambient=1.0, diffuse=0.0)
    actor.SetTexture(_texture(pixels, repeat=False))
    return actor


def _clutter_actor(item: Clutter, ambient: float) -> vtkActor:
    width, height = item.size
    source: vtkCubeSource | vtkSphereSource | vtkCylinderSource | vtkConeSource
    if item.kind == "box":
        source, rest = vtkCubeSource(), height / 2
        source.SetXLength(width * 1.6)
        source.SetYLength(width * 1.6)
        source.SetZLength(height)
    elif item.kind == "ball":
        source, rest = vtkSphereSource(), width
        source.SetRadius(width)
        source.SetThetaResolution(20)
        source.SetPhiResolution(14)
    elif item.kind == "post":
        source, rest = vtkCylinderSource(), height * 0.7
        source.SetRadius(width * 0.4)
        source.SetHeight(height * 1.4)
        source.SetResolution(16)
    else:
        source, rest = vtkConeSource(), height / 2
        source.SetRadius(width)
        source.SetHeight(height)
        source.SetDirection(0, 0, 1)
        source.SetResolution(20)
    mapper = vtkPolyDataMapper()
    mapper.SetInputConnection(source.GetOutputPort())
    actor = _lit_actor(mapper, ambient)
    actor.GetProperty().SetColor(*item.colour)
    if item.kind == "post":
        actor.RotateX(90)
    actor.SetPosition(item.place[0], item.place[1], rest)
    return actor
