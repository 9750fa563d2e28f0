import DHCPClient
import NetworkTypes
import StateClient

/// Gets an address, or takes the one of the command line, sets it with what else the network's clients are told, and
/// has the boot keep it.
enum Address {
  static func run(_ boot: Boot) throws {
    guard let card = boot.card, let interface = boot.interface else {
      throw StepFailure(what: "no card is chosen yet", canRetry: true)
    }
    let settings = try NetworkSettings(boot.commandLine)
    let wanted = boot.lease?.address
    var lease: AcquiredLease
    if let address = settings.address {
      lease = AcquiredLease(
        address, server: boot.commandLine.servers.first?.address, obtainedAt: Int64(Clock.bootTime))
    } else {
      do {
        lease = try DHCPClient.acquire(
          on: interface, hardwareAddress: card.hardwareAddress, vendorClass: vendorClass,
          clientIdentifier: card.clientIdentifier, requested: wanted, within: 30)
      } catch {
        boot.cardsWithoutAnswer.insert(card.name)
        throw StepFailure(
          what: "no address for \(interface) (\(card.hardwareAddress)): \(error)", canRetry: true)
      }
    }
    boot.cardsWithoutAnswer = []
    lease.obey(settings)
    try install(lease, on: interface, boot)
    boot.hold(lease, actions: actions(on: interface, of: card, settings, boot))
    let source = settings.address == nil ? "from \(lease.serverIdentifier)" : "of the kernel command line"
    boot.say("\(interface) \(card.hardwareAddress), address \(lease.address) \(source)")
  }

  private static let vendorClass = "perseid-stage1"

  private static func install(_ lease: AcquiredLease, on interface: String, _ boot: Boot) throws {
    try boot.interfaces.set(lease, on: interface, say: boot.say)
    // For the nodescripts that run before the node has a root of its own.
    guard !lease.nameServers.isEmpty else { return }
    try RootedPath("/").replace("/etc/resolv.conf", with: Array(Resolver.text(lease).utf8), mode: 0o644)
  }

  /// What keeps the address as long as stage 1 waits: who is held until it is assigned may wait for days.
  private static func actions(
    on interface: String, of card: NetworkCard, _ settings: NetworkSettings, _ boot: Boot
  ) -> LeaseKeeper.Actions {
    let running = LeaseKeeper.Actions(
      interface: interface, hardwareAddress: card.hardwareAddress, vendorClass: vendorClass,
      clientIdentifier: card.clientIdentifier, say: { [unowned boot] in boot.say($0) })
    var actions = running
    actions.renew = { lease in
      var lease = try running.renew(lease)
      lease.obey(settings)
      return lease
    }
    actions.acquire = { address in
      var lease = try running.acquire(address)
      lease.obey(settings)
      return lease
    }
    actions.install = { [unowned boot] lease in try install(lease, on: interface, boot) }
    // The hand-over writes it.
    actions.save = { _ in }
    actions.systemClient = { _ in nil }
    return actions
  }
}

extension AcquiredLease {
  /// What the command line says of the packets' size was done with the link, and counts more.
  fileprivate mutating func obey(_ settings: NetworkSettings) {
    if settings.mtu != nil { mtu = nil }
  }
}
