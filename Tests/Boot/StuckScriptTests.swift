import Foundation
import Lab
import NetworkTypes
import Testing

@Suite("A node that hangs in a script", .enabled(if: NetworkNamespace.isAvailable, "needs private namespaces"))
struct StuckScriptTests {
  private struct Status: Decodable {
    var state: String
    var condition: String
    var step: String?
    var detail: String?
  }

  @Test("is shown as stuck there", .timeLimit(.minutes(40)))
  func stuck() async throws {
    var settings = Appliance.Settings()
    settings.extra = "states: { init: { deadlineSeconds: 30 } }"
    try await withTurns(1) {
      try await withAppliance(settings: settings) { site, appliance in
        let directory = "\(appliance.state)/nodescripts/init/all"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        try "#!/bin/sh\necho hanging\nwhile :; do sleep 60; done\n".write(
          toFile: "\(directory)/20-hangs", atomically: true, encoding: .utf8)
        let machine = try await site.start(.init(number: 1, firmware: .bios))
        let watch = try RunningProcess(appliance.command("watch"))
        defer { watch.signal(15) }
        try await machine.console.line(containing: "hanging", within: bootBound)
        try await watch.log.line(containing: "stuck", within: bootBound)
        let status = try #require(try await appliance.json([Status].self, "node", "status").first)
        #expect(status.state == "init" && status.condition == "stuck" && status.step == "20-hangs")
        #expect(try await appliance.run("node", "summary").contains("step 20-hangs"))
        await machine.powerOff()
      }
    }
  }
}
