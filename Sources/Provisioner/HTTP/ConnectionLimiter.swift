import NetworkTypes
import Synchronization

/// Counts open connections, all together and per client address, so that one client, or a flood of
/// them, cannot take what the others need.
final class ConnectionLimiter: Sendable {
  private let total: Int
  private let perClient: Int
  private let open = Mutex<(total: Int, clients: [IPv4Address: Int])>((0, [:]))

  init(total: Int, perClient: Int) {
    self.total = total
    self.perClient = perClient
  }

  /// Whether one more from this client is allowed; it counts until `leave` is called.
  func admit(_ client: IPv4Address) -> Bool {
    open.withLock { open in
      let here = open.clients[client, default: 0]
      guard open.total < total, here < perClient else { return false }
      open.total += 1
      open.clients[client] = here + 1
      return true
    }
  }

  func leave(_ client: IPv4Address) {
    open.withLock { open in
      open.total -= 1
      let here = open.clients[client, default: 1]
      open.clients[client] = here > 1 ? here - 1 : nil
    }
  }
}
