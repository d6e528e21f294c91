// The app: measure, what came out, where operations run, talk to the model, send the report.

import SwiftUI

@main
struct ProbeApp: App {
    @State private var runner = ProbeRunner()
    @State private var link: PairingLink?
    @State private var tab = 0

    var body: some Scene {
        WindowGroup {
            TabView(selection: $tab) {
                MeasureView(runner: runner)
                    .tabItem { Label("Measure", systemImage: "gauge") }
                    .tag(0)
                PlacementView(runner: runner)
                    .tabItem { Label("Operations", systemImage: "square.grid.3x3") }
                    .tag(1)
                ChatView(runner: runner)
                    .tabItem { Label("Talk", systemImage: "text.bubble") }
                    .tag(2)
                SendView(runner: runner, link: $link)
                    .tabItem { Label("Report", systemImage: "paperplane") }
                    .tag(3)
            }
            .task { runner.open() }
            .onOpenURL { url in
                // The phone's camera opens the link of the workbench here.
                link = try? PairingLink(url.absoluteString)
                tab = 3
            }
        }
    }
}
