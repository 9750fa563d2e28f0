import Foundation
import Lab

/// Boots machines from nothing into a small Debian, and shows it as it happens: `make demo`.
@main
struct Demo {
  static func main() async {
    do {
      let demo = try Demo(environment: ProcessInfo.processInfo.environment)
      try await demo.run()
    } catch {
      FileHandle.standardError.write(Data("\ndemo: \(error)\n".utf8))
      exit(1)
    }
  }

  let firmware: Machine.Firmware
  let count: Int

  /// - Parameter environment: FIRMWARE and NODES, as given to make.
  init(environment: [String: String]) throws {
    let name = environment["FIRMWARE"].flatMap { $0.isEmpty ? nil : $0 } ?? Machine.Firmware.bios.rawValue
    guard let firmware = Machine.Firmware.byDefault.first(where: { $0.rawValue == name }) else {
      let known = Machine.Firmware.byDefault.map(\.rawValue).joined(separator: ", ")
      throw LabError("FIRMWARE=\(name) is not known; it is one of \(known)")
    }
    let nodes = environment["NODES"].flatMap { $0.isEmpty ? nil : $0 } ?? "1"
    guard let count = Int(nodes), (1...50).contains(count) else {
      throw LabError("NODES=\(nodes) is not a number of machines from 1 to 50")
    }
    self.firmware = firmware
    self.count = count
  }

  func run() async throws {
    guard NetworkNamespace.isAvailable else { throw LabError("the demo \(NetworkNamespace.unavailable)") }
    let start = ContinuousClock.now
    try await Site.with { site in
      say("demo: a capsule of Debian 12 (kept for the next run)")
      let state = site.directory + "/state"
      try await CapsuleTemplate.shared.makeState(at: state)
      let appliance = try Appliance(site, state: state)
      say("demo: perseid serve on \(Site.serverInterface), \(Site.serverAddress)/\(Site.prefixLength)")
      try await appliance.start()
      do {
        try await boot(site, appliance)
      } catch {
        say("demo: what the appliance said last:\n\(appliance.log?.tail(20) ?? "")")
        throw error
      }
      let status = await appliance.stop()
      guard status == .exited(0) else {
        throw LabError("perseid serve ended with \(status.map(\.description) ?? "nothing") when it was asked to stop")
      }
    }
    say("demo: done in \(Int((ContinuousClock.now - start).seconds)) s")
  }

  private func boot(_ site: Site, _ appliance: Appliance) async throws {
    let watch = try RunningProcess(appliance.command("watch"))
    watch.log.observe { say("  \($0)") }
    var machines: [Machine] = []
    for number in 1...count {
      say("demo: power on, machine \(number) of \(count), \(firmware.rawValue) firmware, nothing on it")
      machines.append(try await site.start(.init(number: number, firmware: firmware, processors: count > 1 ? 1 : 2)))
    }
    do {
      for machine in machines {
        // Two machines at a time go as fast as one on two processors; more wait for each other.
        let node = try await appliance.node(
          of: machine, reaches: "ready", within: .seconds(240 + 90 * max(0, count - 2)))
        let seconds = Int((ContinuousClock.now - machine.powerOn).seconds)
        say("demo: \(node.name) (\(machine.mac)) is ready, \(seconds) s after power-on, in \(node.vnfs ?? "?")\n")
        say(try await appliance.run("node", "timeline", node.name))
      }
    } catch {
      for machine in machines { await machine.powerOff() }
      await watch.stop()
      throw error
    }
    for machine in machines { await machine.powerOff() }
    await watch.stop()
  }
}

/// Prints a line at once, also into a pipe.
private func say(_ line: String) {
  FileHandle.standardOutput.write(Data((line + "\n").utf8))
}
