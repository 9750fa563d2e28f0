import DHCPClient
import StateClient

/// Gets an address, or takes the one of the command line, and sets it with what else the network's clients are told.
enum Address {
  static func run(_ boot: Boot) throws {
    guard let card = boot.card, let interface = boot.interface else {
      throw StepFailure(what: "no card is chosen yet", canRetry: true)
    }
    let settings = try NetworkSettings(boot.commandLine)
    var lease: AcquiredLease
    if let address = settings.address {
      lease = AcquiredLease(
        address, server: boot.commandLine.servers.first?.address, obtainedAt: Int64(Clock.bootTime))
    } else {
      do {
        lease = try DHCPClient.acquire(
          on: interface, hardwareAddress: card.hardwareAddress, vendorClass: "perseid-stage1",
          clientIdentifier: card.clientIdentifier, requested: boot.lease?.address, within: 30)
      } catch {
        boot.cardsWithoutAnswer.insert(card.name)
        throw StepFailure(
          what: "no address for \(interface) (\(card.hardwareAddress)): \(error)", canRetry: true)
      }
    }
    boot.cardsWithoutAnswer = []
    // What the command line says of the packets' size was done with the link, and counts more.
    if settings.mtu != nil { lease.mtu = nil }
    try boot.interfaces.set(lease, on: interface, say: boot.say)
    // For the nodescripts that run before the node has a root of its own.
    if !lease.nameServers.isEmpty {
      try RootedPath("/").replace("/etc/resolv.conf", with: Array(Resolver.text(lease).utf8), mode: 0o644)
    }
    boot.lease = lease
    let source = settings.address == nil ? "from \(lease.serverIdentifier)" : "of the kernel command line"
    boot.say("\(interface) \(card.hardwareAddress), address \(lease.address) \(source)")
  }
}
