import Foundation
import Lab
import Synchronization

/// The moments of one boot, each seen from outside in the same way whoever serves it.
struct BootTimes: CustomStringConvertible {
  /// Seconds from the loader's first request over HTTP until the initramfs hands over to the root.
  var loaderToSwitchRoot: Double
  /// Seconds from power-on until the operating system reached multi-user.
  var powerOnToMultiUser: Double
  /// Seconds of our stage 1's own until the appliance had the state `init`; `nil` of the peer.
  var stage1ToInit: Double?

  var description: String {
    "\(loaderToSwitchRoot.formatted(.number.precision(.fractionLength(1)))) s to switch_root, "
      + "\(powerOnToMultiUser.formatted(.number.precision(.fractionLength(1)))) s to multi-user"
      + (stage1ToInit.map { ", stage 1 \($0.formatted(.number.precision(.fractionLength(2)))) s to init" } ?? "")
  }

  /// Powers a machine on and follows it until its operating system is up.
  init(_ site: Site, configuration: Machine.Configuration) async throws {
    let watch = try await site.watch(
      "tcp and not src host \(Site.serverAddress) and tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn")
    let firstRequest = Mutex<ContinuousClock.Instant?>(nil)
    watch.log.observe { line in
      guard line.contains("Flags [S]") else { return }
      firstRequest.withLock { if $0 == nil { $0 = .now } }
    }
    let machine = try await site.start(configuration)
    do {
      // Stage 1 says "switching to the node's own root", and the peer's script "switching root", just before they do.
      try await machine.console.line("the switch to the root", within: .seconds(300)) { $0.contains(": switching ") }
      let switched = ContinuousClock.now
      try await machine.console.line("multi-user.target", within: .seconds(180)) {
        $0.contains("Reached target") && $0.contains("multi-user.target")
      }
      let multiUser = ContinuousClock.now
      guard let first = firstRequest.withLock({ $0 }) else {
        throw LabError("no HTTP connection of the loader was seen; tcpdump said:\n\(watch.log.tail())")
      }
      loaderToSwitchRoot = (switched - first).seconds
      stage1ToInit = machine.console.text.firstMatch(of: /state init was told (\d+) ms after stage 1 began/)
        .flatMap { Double($0.1) }.map { $0 / 1000 }
      powerOnToMultiUser = (multiUser - machine.powerOn).seconds
    } catch {
      await machine.powerOff()
      await watch.stop()
      throw error
    }
    await machine.powerOff()
    await watch.stop()
  }
}
