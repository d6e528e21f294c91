// Sends a report to the workbench that a pairing link names, once.

import Foundation

enum ReportSender {
    struct Answer: Codable {
        let id: String
        let package: String
        let passed: Bool
    }

    private struct Refusal: Codable {
        struct Reason: Codable {
            let message: String
            let hint: String?
        }

        let error: Reason
    }

    /// Throws `ProbeError` with what the workbench said.
    static func send(_ report: Report, to link: PairingLink) async throws -> Answer {
        guard report.package.sha256.hasPrefix(link.package) else {
            throw ProbeError(
                "the code is for a different package", hint: "Scan the one on the page of \(report.package.name).")
        }
        var request = URLRequest(url: link.endpoint)
        request.httpMethod = "POST"
        request.timeoutInterval = 30
        request.setValue("application/json", forHTTPHeaderField: "Content-Type")
        request.setValue("Bearer \(link.token)", forHTTPHeaderField: "Authorization")
        let (data, response) = try await URLSession.shared.upload(for: request, from: report.encoded())
        let status = (response as? HTTPURLResponse)?.statusCode ?? 0
        if status == 200 || status == 201 { return try JSONDecoder().decode(Answer.self, from: data) }
        if let refusal = try? JSONDecoder().decode(Refusal.self, from: data) {
            throw ProbeError(refusal.error.message, hint: refusal.error.hint)
        }
        throw ProbeError("the workbench answered \(status)", hint: "Check the address.")
    }
}
