import DHCPClient
import StateClient

/// Gets an address and sets it.
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
    try boot.interfaces.setAddress(lease.address, prefixLength: lease.prefixLength, on: card.name)
    if let router = lease.router {
      do {
        try boot.interfaces.setDefaultRoute(through: router, on: card.name)
      } catch {
        // The appliance is on this segment: a wrong router hurts later, and is told now.
        boot.say("\(error); the boot goes on without a default route")
      }
    }
    boot.lease = lease
    boot.say("\(card.name) \(card.hardwareAddress), address \(lease.address) from \(lease.serverIdentifier)")
  }
}
