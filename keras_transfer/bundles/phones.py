"""The targets `android` and `ios`: a project for each, with the camera or a sample, and a test of the golden pictures.

`android` is a Gradle project in Kotlin with an instrumented test, `ios` a Swift package with a sample in SwiftUI and an
XCTest. They differ in their templates, and in where an app looks for its data.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from keras_transfer.bundles import data, filling
from keras_transfer.bundles.content import Content


def _write(content: Content, folder: Path, *, target: str, place: str) -> None:
    filling.fill(target, folder, data.values(content, place=place))
    data.write(content, folder / place)
    data.write_json(folder / data.BUNDLE_FILE, data.described(content))
    data.write_papers(content, folder)


write_android = partial(_write, target="android", place="app/src/main/assets/")
"""Write the project, its data among the assets of the app."""

write_ios = partial(_write, target="ios", place="Sources/PictureModel/Resources/")
"""Write the package, its data among the resources of its library."""
