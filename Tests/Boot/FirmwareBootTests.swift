import Foundation
import Lab
import Testing

@Suite("A bare machine", .enabled(if: NetworkNamespace.isAvailable, "needs private namespaces"))
struct FirmwareBootTests {
  @Test(
    "becomes node n0000 and is ready in its capsule, and its timeline tells the way there",
    .timeLimit(.minutes(40)), arguments: Machine.Firmware.byDefault)
  func becomesANode(firmware: Machine.Firmware) async throws {
    try await withTurns(1) {
      try await withAppliance { site, appliance in
        #expect(try await appliance.nodes().isEmpty)
        let machine = try await site.start(.init(number: 1, firmware: firmware))
        let node = try await appliance.node(of: machine, reaches: "ready", within: bootBound)
        #expect(node.name == "n0000")
        #expect(node.vnfs == "debian-12")
        #expect(node.group == "cluster")
        #expect(node.address?.hasPrefix("10.77.0.1") == true)
        #expect(node.lastContact != nil)
        #expect(machine.console.text.contains("Debian GNU/Linux 12"))
        try await checkTimeline(of: node.name, firmware: firmware, appliance)
        await machine.powerOff()
      }
    }
  }

  private func checkTimeline(of node: String, firmware: Machine.Firmware, _ appliance: Appliance) async throws {
    let timeline = try await appliance.timeline(node)
    let sources = timeline.map(\.source)
    #expect(sources.first == "dhcp")
    for source in ["dhcp", "http", "state", "step"] { #expect(sources.contains(source), "no \(source) event") }
    // The BIOS machine's ROM is an iPXE that can do HTTP, so it needs no other loader first.
    #expect(sources.contains("tftp") == (firmware == .uefi))
    #expect(timeline.contains { $0.source == "state" && "\($0.event) \($0.detail)".contains("init") })
    #expect(timeline.contains { $0.source == "state" && "\($0.event) \($0.detail)".contains("ready") })
    #expect(timeline.contains { $0.source == "step" && "\($0.event) \($0.detail)".contains("50-root") })

    let start = try #require(timeline.first { $0.source == "step" && $0.event == "stage-1 done" })
    #expect((start.seconds ?? 0) > 0 && start.detail.contains(/and the kernel \d+ ms before that/), "\(start)")

    let moments = timeline.compactMap { entry in instant(entry.at) }
    #expect(moments.count == timeline.count, "a moment is not in the form of RFC 3339")
    #expect(moments == moments.sorted())
    if let first = moments.first, let last = moments.last {
      #expect((1...bootBound.seconds).contains(last.timeIntervalSince(first)))
    }
    // For a person: every event on a line of its own, with its seconds.
    let text = try await appliance.run("node", "timeline", node)
    let lines = text.split(separator: "\n").filter { $0.contains(/\d+\.\d/) }
    #expect(lines.count >= timeline.count, "\(text)")
  }

  private func instant(_ text: String) -> Date? {
    let formatter = ISO8601DateFormatter()
    formatter.formatOptions = [.withInternetDateTime, .withFractionalSeconds]
    if let date = formatter.date(from: text) { return date }
    formatter.formatOptions = [.withInternetDateTime]
    return formatter.date(from: text)
  }
}
