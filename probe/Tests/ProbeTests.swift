// The unattended run: `xcodebuild test` on a device measures everything and leaves the report as an attachment and in the app's
// documents. Settings come from the environment; xcodebuild hands on what begins with TEST_RUNNER_:
// PROBE_UNITS (cpuAndNeuralEngine,cpuOnly), PROBE_MINUTES (sustained), PROBE_LINK (a pairing link to send the report to).

import Foundation
import XCTest

@testable import Probe

final class ProbeTests: XCTestCase {
    @MainActor
    func testPackageOnThisDevice() async throws {
        let environment = ProcessInfo.processInfo.environment
        let runner = ProbeRunner()
        if let names = environment["PROBE_UNITS"] {
            runner.settings.units = try names.split(separator: ",").map { name in
                try XCTUnwrap(Units(rawValue: String(name)), "PROBE_UNITS: there is no compute unit \(name)")
            }
        }
        if let minutes = environment["PROBE_MINUTES"] {
            runner.settings.sustainedMinutes = try XCTUnwrap(Double(minutes), "PROBE_MINUTES: \(minutes) is no number")
        }
        let report = try await runner.measure()
        let attachment = XCTAttachment(data: try report.encoded(), uniformTypeIdentifier: "public.json")
        attachment.name = "report.json"
        attachment.lifetime = .keepAlways
        add(attachment)
        if let text = environment["PROBE_LINK"] {
            // What went wrong on the way to the workbench does not make the measurement worthless.
            await runner.send(to: try PairingLink(text))
            print("probe: \(runner.sendState)")
        }
        for run in report.runs {
            for failure in run.failures { XCTFail("\(run.computeUnits): \(failure.stage): \(failure.message)") }
            for parity in run.parity {
                XCTAssertTrue(
                    parity.passed,
                    "\(run.computeUnits), \(parity.case): logits differ by \(parity.maxLogitDifference), allowed are \(parity.tolerance)")
            }
        }
    }
}
