import PhotosUI
import PictureModel
import SwiftUI

/// Asks the model about a picture that a person chooses.
@main
struct PictureApp: App {
    var body: some Scene {
        WindowGroup { AskView() }
    }
}

struct AskView: View {
    @State private var chosen: PhotosPickerItem?
    @State private var picture: UIImage?
    @State private var said = "Choose a picture."

    var body: some View {
        VStack(spacing: 24) {
            if let picture {
                Image(uiImage: picture).resizable().scaledToFit().accessibilityLabel("The chosen picture")
            }
            Text(said).font(.title2).multilineTextAlignment(.center)
            PhotosPicker("Choose a picture", selection: $chosen, matching: .images).buttonStyle(.borderedProminent)
        }
        .padding()
        .onChange(of: chosen) { item in Task { await ask(item) } }
    }

    private func ask(_ item: PhotosPickerItem?) async {
        do {
            guard let data = try await item?.loadTransferable(type: Data.self), let found = UIImage(data: data) else {
                said = "That is no picture that can be read."
                return
            }
            let about = try About.read()
            picture = found
            said = try Model(about).ask(found).told(about)
        } catch {
            said = "The model cannot be asked: \(error.localizedDescription)"
        }
    }
}
