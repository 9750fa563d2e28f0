import Lab
import Testing

@Suite("A machine whose boot ROM is no iPXE", .enabled(if: NetworkNamespace.isAvailable, "needs private namespaces"))
struct UNDIBootTests {
  @Test("is told undionly.kpxe, runs it over its own PXE stack, and is ready in its capsule", .timeLimit(.minutes(40)))
  func boots() async throws {
    try await withTurns(1) {
      try await withAppliance { site, appliance in
        let machine = try await site.start(.init(number: 1, firmware: .biosUNDI))
        let node = try await appliance.node(of: machine, reaches: "ready", within: bootBound)
        // The loader's own words: it drives the card through the PXE stack that was there before it.
        #expect(machine.console.text.contains("using undionly on"))
        let timeline = try await appliance.timeline(node.name)
        func first(_ source: String, _ event: String, _ words: String...) throws -> Int {
          try #require(
            timeline.firstIndex { entry in
              entry.source == source && entry.event == event && words.allSatisfy { entry.detail.contains($0) }
            }, "no \(source) \(event) with \(words) in \(timeline.map { "\($0.source) \($0.event): \($0.detail)" })")
        }
        let asked = try first("dhcp", "discover", "BIOS firmware: OFFER", "undionly.kpxe by TFTP")
        let loaded = try first("tftp", "finished", "undionly.kpxe")
        let askedAgain = try first("dhcp", "discover", "iPXE: OFFER", "its script by HTTP")
        let script = try first("http", "script")
        #expect([asked, loaded, askedAgain, script] == [asked, loaded, askedAgain, script].sorted())
        #expect(Set(timeline.map(\.boot)).count == 1)
        await machine.powerOff()
      }
    }
  }
}
