package import Logging
package import NetworkTypes
import Synchronization

/// Says of each unknown machine that is refused that it is, once, and of many at a time only of some.
package final class RefusedMachines: Sendable {
  private struct State {
    var known: Set<MACAddress> = []
    /// Messages in the minute that began at this uptime.
    var minute = 0.0
    var count = 0
  }

  private let logger: Logger
  private let state = Mutex(State())

  static let knownLimit = 4096
  static let perMinute = 20

  package init(logger: Logger) {
    self.logger = logger
  }

  /// - Returns: Whether it was said.
  @discardableResult
  package func refused(_ mac: MACAddress, now: Moment = .now) -> Bool {
    let isSaid = state.withLock { state in
      if now.uptime - state.minute >= 60 {
        state.minute = now.uptime
        state.count = 0
      }
      guard !state.known.contains(mac), state.count < Self.perMinute else { return false }
      if state.known.count >= Self.knownLimit { state.known.removeAll() }
      state.known.insert(mac)
      state.count += 1
      return true
    }
    if isSaid {
      logger.notice(
        "The machine \(mac) wants to boot and is no node: refused (discovery: refuse). perseid node add \(mac) NAME")
    }
    return isSaid
  }
}
