import Foundation
import Lab
import Synchronization

/// The moments of one boot, each seen from outside in the same way whoever serves it.
struct BootTimes: CustomStringConvertible {
  /// Seconds from the loader's first request over HTTP until the operating system's init runs.
  var loaderToInit: Double
  /// Seconds from power-on until the operating system reached multi-user.
  var powerOnToMultiUser: Double

  var description: String {
    "\(loaderToInit.formatted(.number.precision(.fractionLength(1)))) s to init, "
      + "\(powerOnToMultiUser.formatted(.number.precision(.fractionLength(1)))) s to multi-user"
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
      try await machine.console.line(containing: "Welcome to Debian", within: .seconds(300))
      let initRuns = ContinuousClock.now
      try await machine.console.line("multi-user.target", within: .seconds(180)) {
        $0.contains("Reached target") && $0.contains("multi-user.target")
      }
      let multiUser = ContinuousClock.now
      guard let first = firstRequest.withLock({ $0 }) else {
        throw LabError("no HTTP connection of the loader was seen; tcpdump said:\n\(watch.log.tail())")
      }
      loaderToInit = (initRuns - first).seconds
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
