// swift-tools-version: 5.9
import PackageDescription

let package = Package(
    name: "PictureModel",
    platforms: [.iOS(.v15)],
    products: [.library(name: "PictureModel", targets: ["PictureModel"])],
    dependencies: [
        .package(url: "https://github.com/google-ai-edge/mediapipe.git", exact: "1.0.1")
    ],
    targets: [
        .target(
            name: "PictureModel",
            dependencies: [.product(name: "MediaPipeTasksVision", package: "mediapipe")],
            resources: [.copy("Resources")]
        ),
        .testTarget(name: "PictureModelTests", dependencies: ["PictureModel"]),
    ]
)
