import DHCPClient
import StateClient

/// Gets an address and sets it, with what else the network's clients are told.
enum Address {
  static func run(_ boot: Boot) throws {
    guard let card = boot.card else { throw StepFailure(what: "no card is chosen yet", canRetry: true) }
    let lease: AcquiredLease
    do {
      lease = try DHCPClient.acquire(
        on: card.name, hardwareAddress: card.hardwareAddress, vendorClass: "perseid-stage1",
        requested: boot.lease?.address, within: 30)
    } catch {
      throw StepFailure(
        what: "no address for \(card.name) (\(card.hardwareAddress)): \(error)", canRetry: true)
    }
    try boot.interfaces.set(lease, on: card.name, say: boot.say)
    // For the nodescripts that run before the node has a root of its own.
    if !lease.nameServers.isEmpty {
      try RootedPath("/").replace("/etc/resolv.conf", with: Array(Resolver.text(lease).utf8), mode: 0o644)
    }
    boot.lease = lease
    boot.say("\(card.name) \(card.hardwareAddress), address \(lease.address) from \(lease.serverIdentifier)")
  }
}
