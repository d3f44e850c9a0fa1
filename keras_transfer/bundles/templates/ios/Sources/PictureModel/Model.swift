import MediaPipeTasksVision
import UIKit

/// The model of the package, opened by the MediaPipe task that its own task is; one thread at a time may ask it.
public final class Model {
    private let about: About
    private let asked: (MPImage) throws -> Answer

    /// Opens the model; throws where MediaPipe does not take it.
    public init(_ about: About) throws {
        let path = try place(of: about.file).path
        self.about = about
        switch about.task {
        case "detection": asked = try Self.detector(path, about)
        case "segmentation": asked = try Self.segmenter(path)
        case "embedding": asked = try Self.embedder(path)
        default: asked = try Self.classifier(path, about)
        }
    }

    /// Says what is in a picture of any size.
    public func ask(_ picture: UIImage) throws -> Answer {
        try asked(MPImage(uiImage: placed(picture, by: about.aspect)))
    }

    private static func classifier(_ path: String, _ about: About) throws -> (MPImage) throws -> Answer {
        let options = ImageClassifierOptions()
        options.baseOptions.modelAssetPath = path
        options.maxResults = -1
        let task = try ImageClassifier(options: options)
        return { image in
            var scores = [Double](repeating: 0, count: about.classNames.count)
            for each in try task.classify(image: image).classificationResult.classifications.first?.categories ?? [] {
                scores[index(of: each, about)] = Double(each.score)
            }
            return .scores(scores)
        }
    }

    private static func embedder(_ path: String) throws -> (MPImage) throws -> Answer {
        let options = ImageEmbedderOptions()
        options.baseOptions.modelAssetPath = path
        let task = try ImageEmbedder(options: options)
        return { image in
            let said = try task.embed(image: image).embeddingResult.embeddings.first?.floatEmbedding ?? []
            return .place(said.map { $0.doubleValue })
        }
    }

    private static func segmenter(_ path: String) throws -> (MPImage) throws -> Answer {
        let options = ImageSegmenterOptions()
        options.baseOptions.modelAssetPath = path
        options.shouldOutputCategoryMask = true
        options.shouldOutputConfidenceMasks = false
        let task = try ImageSegmenter(options: options)
        return { image in
            guard let mask = try task.segment(image: image).categoryMask else { return .classes([]) }
            return .classes((0..<mask.width * mask.height).map { Int(mask.uint8Data[$0]) })
        }
    }

    private static func detector(_ path: String, _ about: About) throws -> (MPImage) throws -> Answer {
        let options = ObjectDetectorOptions()
        options.baseOptions.modelAssetPath = path
        options.maxResults = -1
        let task = try ObjectDetector(options: options)
        return { image in
            let (high, wide) = (Double(image.height), Double(image.width))
            let found = try task.detect(image: image).detections.compactMap { each -> Box? in
                guard let kind = each.categories.first else { return nil }
                let box = each.boundingBox
                let (top, left) = (Double(box.minY) / high, Double(box.minX) / wide)
                let edges = [top, left, Double(box.maxY) / high, Double(box.maxX) / wide]
                return Box(category: index(of: kind, about), score: Double(kind.score), box: edges)
            }
            return .boxes(found.sorted { $0.score > $1.score })
        }
    }

    /// Labels of a detector come without their number.
    private static func index(of kind: ResultCategory, _ about: About) -> Int {
        about.classNames.firstIndex { $0 == kind.categoryName } ?? kind.index
    }
}

/// Gives the part of a picture that the model is asked about; MediaPipe then stretches it to the size that it takes.
func placed(_ picture: UIImage, by aspect: String) -> UIImage {
    let (width, height) = (picture.size.width * picture.scale, picture.size.height * picture.scale)
    let side = aspect == "crop" ? min(width, height) : max(width, height)
    if width == height || aspect == "stretch" { return picture }
    let format = UIGraphicsImageRendererFormat()
    format.scale = 1
    return UIGraphicsImageRenderer(size: CGSize(width: side, height: side), format: format).image { drawing in
        UIColor.black.setFill()
        drawing.fill(CGRect(x: 0, y: 0, width: side, height: side))
        picture.draw(in: CGRect(x: (side - width) / 2, y: (side - height) / 2, width: width, height: height))
    }
}
