import XCTest

@testable import PictureModel

/// On an iPhone or its simulator: the model says there what it said where it was proven.
final class GoldenTests: XCTestCase {
    func testGoldenPicturesGetTheirAnswers() throws {
        let about = try About.read()
        let model = try Model(about)
        let rows = try Golden.all()
        XCTAssertFalse(rows.isEmpty, "there are no golden pictures")
        for row in rows {
            let said = try model.ask(try row.picture())
            XCTAssertLessThanOrEqual(row.difference(said, about), about.tolerance, row.file)
        }
    }
}
