import Foundation

/// What the model is: `bundle.json`.
public struct About: Decodable {
    public let file: String
    public let task: String
    public let classNames: [String]
    public let thresholds: [Double]
    public let imageSize: Int
    public let aspect: String
    public let tolerance: Double

    public static func read() throws -> About {
        try decoded("bundle.json")
    }
}

/// A file that came along was taken out of the package.
public struct Missing: Error {
    public let name: String
}

func place(of name: String) throws -> URL {
    guard let folder = Bundle.module.url(forResource: "Resources", withExtension: nil) else {
        throw Missing(name: "Resources")
    }
    return folder.appendingPathComponent(name)
}

func decoded<Value: Decodable>(_ name: String) throws -> Value {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return try decoder.decode(Value.self, from: Data(contentsOf: place(of: name)))
}
