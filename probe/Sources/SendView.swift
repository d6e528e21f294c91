// The report leaves the phone: to the workbench by a code that is scanned or pasted, or as a file.

import SwiftUI
import VisionKit

struct SendView: View {
    @Bindable var runner: ProbeRunner
    @Binding var link: PairingLink?
    @State private var pasted = ""
    @State private var problem: String?
    @State private var isScanning = false

    var body: some View {
        NavigationStack {
            List {
                if let file = runner.reportFile {
                    Section("As a file") {
                        ShareLink("Share report.json", item: file)
                        Text("`espalier report import report.json` takes it in.").foregroundStyle(.secondary)
                    }
                } else {
                    Text("Measure first: there is no report yet.")
                }
                Section("To the workbench") {
                    if DataScannerViewController.isSupported {
                        Button("Scan the code on the package's page") { isScanning = true }
                    }
                    TextField("or paste its link", text: $pasted)
                        .autocorrectionDisabled()
                        .onSubmit { take(pasted) }
                    if let link {
                        Fact(name: "server", value: link.server.host ?? "")
                        Button("Send") { Task { await runner.send(to: link) } }
                            .disabled(runner.report == nil)
                    }
                    if !runner.sendState.isEmpty { Text(runner.sendState) }
                    if let problem { Text(problem).foregroundStyle(.red) }
                }
            }
            .navigationTitle("Report")
            .sheet(isPresented: $isScanning) {
                CodeScanner { text in
                    isScanning = false
                    take(text)
                }
            }
        }
    }

    private func take(_ text: String) {
        do {
            link = try PairingLink(text)
            problem = nil
        } catch {
            problem = String(describing: error)
        }
    }
}

/// The camera, until it sees a QR code.
struct CodeScanner: UIViewControllerRepresentable {
    let found: (String) -> Void

    func makeUIViewController(context: Context) -> DataScannerViewController {
        let scanner = DataScannerViewController(
            recognizedDataTypes: [.barcode(symbologies: [.qr])], qualityLevel: .balanced,
            isHighlightingEnabled: true)
        scanner.delegate = context.coordinator
        try? scanner.startScanning()
        return scanner
    }

    func updateUIViewController(_ scanner: DataScannerViewController, context: Context) {}

    func makeCoordinator() -> Coordinator { Coordinator(found: found) }

    @MainActor final class Coordinator: NSObject, DataScannerViewControllerDelegate {
        private let found: (String) -> Void
        private var isDone = false

        init(found: @escaping (String) -> Void) { self.found = found }

        func dataScanner(
            _ dataScanner: DataScannerViewController, didAdd addedItems: [RecognizedItem], allItems: [RecognizedItem]
        ) {
            for case .barcode(let code) in addedItems where !isDone {
                guard let text = code.payloadStringValue else { continue }
                isDone = true
                found(text)
            }
        }
    }
}
