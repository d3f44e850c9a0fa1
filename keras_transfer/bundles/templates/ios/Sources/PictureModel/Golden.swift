import Foundation
import UIKit

/// A picture and the answer that the model must give to it: a row of `golden.json`.
public struct Golden: Decodable {
    public let file: String
    let answer: Wanted

    struct Wanted: Decodable {
        let probabilities: [Double]?
        let embedding: [Double]?
        let classes: [[Int]]?
        let boxes: [Box]?
    }

    private struct Rows: Decodable {
        let pictures: [Golden]
    }

    /// Made square by MediaPipe in its own way, not as in training.
    private static let notSquare = "golden/wide.png"
    /// MediaPipe rounds the edges of boxes to pixels.
    private static let samePlace = 0.8

    /// The golden pictures that are squares, as the model takes them.
    public static func all() throws -> [Golden] {
        let rows: Rows = try decoded("golden.json")
        return rows.pictures.filter { $0.file != notSquare }
    }

    public func picture() throws -> UIImage {
        guard let found = UIImage(contentsOfFile: try place(of: file).path) else { throw Missing(name: file) }
        return found
    }

    /// By how much an answer differs from the golden one: in any number, or in the share of pixels.
    public func difference(_ said: Answer, _ about: About) -> Double {
        switch said {
        case .scores(let values): return furthest(values, answer.probabilities ?? [])
        case .place(let values): return furthest(values, answer.embedding ?? [])
        case .classes(let values):
            let wanted = (answer.classes ?? []).flatMap { Array(repeating: $0[0], count: $0[1]) }
            guard values.count == wanted.count, !wanted.isEmpty else { return 1 }
            return Double(zip(values, wanted).filter { $0 != $1 }.count) / Double(wanted.count)
        case .boxes(let values): return ofBoxes(values, answer.boxes ?? [], about)
        }
    }

    /// Boxes that lie at their threshold to within the tolerance may be there or not.
    private func ofBoxes(_ said: [Box], _ wanted: [Box], _ about: About) -> Double {
        let sure = { (each: Box) in each.score >= about.thresholds[each.category] + about.tolerance }
        let found = said.filter(sure).map { nearest($0, wanted) }
        return (wanted.filter(sure).map { nearest($0, said) } + found).max() ?? 0
    }

    private func nearest(_ box: Box, _ others: [Box]) -> Double {
        others.filter { $0.category == box.category && $0.overlap(box) >= Self.samePlace }
            .map { abs($0.score - box.score) }
            .min() ?? 1
    }

    private func furthest(_ said: [Double], _ wanted: [Double]) -> Double {
        guard said.count == wanted.count else { return 1 }
        return zip(said, wanted).map { abs($0 - $1) }.max() ?? 1
    }
}
