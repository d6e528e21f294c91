// The link in the QR code: `espalier-probe://pair?server=http%3A%2F%2F…&token=…&package=<12 digits>`. Pure Swift.

import Foundation

struct PairingLink: Equatable {
    let server: URL
    let token: String
    /// The first digits of the hash of the package that the report is to be about.
    let package: String

    init(_ text: String) throws {
        guard let parts = URLComponents(string: text), parts.scheme == "espalier-probe", parts.host == "pair" else {
            throw ProbeError("this code is not from the workbench", hint: "Scan the code on the page of the package.")
        }
        func value(_ name: String) -> String { parts.queryItems?.first { $0.name == name }?.value ?? "" }
        guard let server = URL(string: value("server")), server.scheme == "http" || server.scheme == "https",
            server.host != nil, !value("token").isEmpty
        else { throw ProbeError("the link has no server or no token", hint: "Ask the workbench for a new one.") }
        self.server = server
        token = value("token")
        package = value("package")
    }

    /// Where the report goes.
    var endpoint: URL { server.appendingPathComponent("api/reports") }
}
