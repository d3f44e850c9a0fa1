import Foundation

/// What a model says of a picture, by its task.
public enum Answer {
    /// classification, multilabel: a number for each class, in the order of the classes.
    case scores([Double])
    /// embedding: a place of unit length.
    case place([Double])
    /// segmentation: the class of every pixel, row by row.
    case classes([Int])
    /// detection: the surest first.
    case boxes([Box])

    /// The answer in a few words.
    public func told(_ about: About) -> String {
        switch self {
        case .scores(let values):
            let best = values.indices.max { values[$0] < values[$1] }
            let several = about.task == "multilabel"
            let shown = values.indices.filter { several ? values[$0] >= about.thresholds[$0] : $0 == best }
            return shown.map { "\(about.classNames[$0])  \(percent(values[$0]))" }.joined(separator: "\n")
        case .place(let values):
            return values.prefix(4).map { String(format: "%.3f", $0) }.joined(separator: "  ") + " …"
        case .classes(let values):
            let counts = Dictionary(values.map { ($0, 1) }, uniquingKeysWith: +)
            return counts.sorted { $0.value > $1.value }
                .map { "\(about.classNames[$0.key])  \(percent(Double($0.value) / Double(values.count)))" }
                .joined(separator: "\n")
        case .boxes(let values):
            return values.filter { $0.score >= about.thresholds[$0.category] }
                .map { "\(about.classNames[$0.category])  \(percent($0.score))" }
                .joined(separator: "\n")
        }
    }
}

/// A box as top, left, bottom and right in shares of the picture.
public struct Box: Decodable {
    public let category: Int
    public let score: Double
    public let box: [Double]

    /// The area that both share, of what either covers.
    func overlap(_ other: Box) -> Double {
        let high = max(min(box[2], other.box[2]) - max(box[0], other.box[0]), 0)
        let wide = max(min(box[3], other.box[3]) - max(box[1], other.box[1]), 0)
        return high * wide / max(area + other.area - high * wide, 1e-12)
    }

    private var area: Double { (box[2] - box[0]) * (box[3] - box[1]) }
}

private func percent(_ share: Double) -> String {
    String(format: "%.0f %%", 100 * share)
}
