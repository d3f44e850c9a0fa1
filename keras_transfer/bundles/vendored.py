"""What other people wrote and a bundle brings along: which files of which version of npm's packages, checked.

They are taken from a `node_modules` folder that is named, else from the cache, else npm is asked once and the cache
keeps them: from then on no network is needed. Each is one version, known by the SHA-256 of the files that are taken.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from keras_transfer.errors import UsageError
from keras_transfer.files import cache_folder, drafted

MINUTES = 10
"""That npm may take for tens of megabytes."""


@dataclass(frozen=True)
class Package:
    """One row: a version, what of it is taken, and by what it is known."""

    version: str
    license: str
    files: tuple[str, ...]
    """Patterns of paths in the package; a package's own licence file is one of them."""
    sha256: str
    """Over the paths and digests of these files, sorted."""


@dataclass(frozen=True)
class Vendored:
    """A package that is in a bundle."""

    name: str
    version: str
    license: str
    folder: str
    """Where its files are in the bundle."""


PACKAGES: Mapping[str, Package] = {
    "onnxruntime-web": Package(
        version="1.30.0",
        license="MIT",
        files=("dist/ort.wasm.min.mjs", "dist/ort-wasm-simd-threaded.mjs", "dist/ort-wasm-simd-threaded.wasm"),
        sha256="904887f7a3b8322577e9c370b80ffa6a8c2bc00999aa390c8f706a565865297e",
    ),
    "pngjs": Package(
        version="7.0.0",
        license="MIT",
        files=("lib/*.js", "LICENSE"),
        sha256="70d3ea153fa0ef6a99091df9952790524c12e68b98c0a7e947d61e59f5c8b89a",
    ),
    "jpeg-js": Package(
        version="0.4.4",
        license="BSD-3-Clause",
        files=("lib/*.js", "index.js", "LICENSE"),
        sha256="405130ee4d9a7cedc7188b8c64d3a18ff6aa2ab21ea2f943051be791a18d7a73",
    ),
}
"""By npm's name: those whose files run anywhere, so that a bundle does too."""


def bring(names: tuple[str, ...], folder: Path, modules: Path | None = None) -> tuple[Vendored, ...]:
    """Copy the files of packages to `folder/vendor/NAME` and say what was brought.

    modules: a `node_modules` folder that has them. Raises UsageError where a package is not to be had, or is not the
    version that is known.
    """
    return tuple(_brought(name, PACKAGES[name], folder, modules) for name in names)


def _brought(name: str, package: Package, folder: Path, modules: Path | None) -> Vendored:
    source = modules / name if modules else _cached(name, package)
    _check(name, package, source)
    inside = f"vendor/{name}"
    for each in taken(source, package):
        place = folder / inside / each.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(each, place)
    text = resources.files("keras_transfer.bundles") / "licenses" / f"{name}.txt"
    if text.is_file():  # the package itself holds none
        (folder / inside / "LICENSE").write_bytes(text.read_bytes())
    return Vendored(name, package.version, package.license, inside)


def _check(name: str, package: Package, source: Path) -> None:
    try:
        found = json.loads((source / "package.json").read_text(encoding="utf-8"))["version"]
    except (OSError, ValueError, KeyError):
        raise UsageError(
            f"'{source.parent}' holds no package {name}. Put it there: npm install {name}@{package.version}"
        ) from None
    if found != package.version:
        raise UsageError(
            f"A bundle holds {name} {package.version}. Received: {found} in '{source}'. "
            f"Install that version, or leave --modules out."
        )
    if digest(source, package) != package.sha256:
        raise UsageError(f"The files of {name} {found} in '{source}' are not those that npm gives: delete them.")


def taken(source: Path, package: Package) -> list[Path]:
    """Return the files that a bundle takes from a package, sorted."""
    return sorted({path for pattern in package.files for path in source.glob(pattern)})


def digest(source: Path, package: Package) -> str:
    """Return what a package is known by."""
    whole = hashlib.sha256()
    for each in taken(source, package):
        content = hashlib.sha256(each.read_bytes()).hexdigest()
        whole.update(f"{each.relative_to(source).as_posix()}\0{content}\n".encode())
    return whole.hexdigest()


def _cached(name: str, package: Package) -> Path:
    place = cache_folder() / "npm" / f"{name}-{package.version}"
    if not place.is_dir():
        _fetch(name, package, place)
    return place


def _fetch(name: str, package: Package, place: Path) -> None:
    """Ask npm for a package and keep the files that are taken; npm itself checks that it got what it asked for."""
    wanted = f"{name}@{package.version}"
    told = f"{wanted} could not be had from npm, and a bundle of this target holds it"
    todo = "Connect once, or name a node_modules folder that has it with --modules."
    if not shutil.which("npm"):
        raise UsageError(f"{told}: there is no npm here. Install it (apt-get install npm). {todo}")
    with tempfile.TemporaryDirectory() as scratch:
        command = ["npm", "pack", wanted, "--silent", "--ignore-scripts", "--pack-destination", scratch]
        try:
            done = subprocess.run(
                command, cwd=scratch, capture_output=True, text=True, timeout=60 * MINUTES, check=False
            )
        except subprocess.TimeoutExpired:
            raise UsageError(f"{told}: it took longer than {MINUTES} minutes. {todo}") from None
        packed = next(Path(scratch).glob("*.tgz"), None)
        if done.returncode or packed is None:
            lines = done.stderr.strip().splitlines()
            raise UsageError(f"{told}: {lines[-1] if lines else 'npm said nothing'}. {todo}")
        with tarfile.open(packed) as tar:
            tar.extractall(scratch, filter="data")
        with drafted(place) as draft:
            unpacked = Path(scratch) / "package"
            for each in [unpacked / "package.json", *taken(unpacked, package)]:
                kept = draft / each.relative_to(unpacked)
                kept.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(each, kept)
