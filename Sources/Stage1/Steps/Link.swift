package import NetworkTypes
package import StateClient

/// Finds the card that booted, or the cards of its bond, brings it up and waits for its carrier.
package enum Link {
  static func run(_ boot: Boot) throws {
    try run(boot, cards: { NetworkCard.all() }, infiniBand: { NetworkCard.infiniBand() })
  }

  package static func run(
    _ boot: Boot, cards: () -> [NetworkCard], infiniBand: () -> [NetworkCard] = { [] }
  ) throws {
    let settings = try NetworkSettings(boot.commandLine)
    let stack = LinkStack(settings, interfaces: boot.interfaces, say: boot.say)
    if settings.bond != nil { boot.modules?.load(named: "bonding") }
    if settings.vlan != nil { boot.modules?.load(named: "8021q") }
    if settings.infiniBand != nil {
      for module in NetworkSettings.InfiniBand.modules { boot.modules?.load(named: module) }
      if let loader = boot.modules { OtherModules.tell(loader, boot) }
    }
    let started = Clock.now
    let deadline = started + boot.commandLine.linkSeconds
    var search = Search(boot: boot, settings: settings, stack: stack)
    while true {
      boot.cards = settings.infiniBand == nil ? cards() : infiniBand()
      let isLast = Clock.now >= deadline
      // Half of the time is for a bond's other cards to appear.
      let isPartial = Clock.now - started >= boot.commandLine.linkSeconds / 2
      if let found = try search.found(takingPart: isPartial) {
        boot.card = found.card
        boot.interface = try stack.finish(on: found.base)
        boot.debug("card \(found.card.name), \(found.card.hardwareAddress), address on \(boot.interface ?? "")")
        return
      }
      guard !isLast else { throw StepFailure(what: search.complaint, canRetry: true) }
      // Carrier comes when the far side and this one have agreed; sysfs has no event for a plain read.
      Clock.sleep(0.02)
    }
  }

  private struct Search {
    let boot: Boot
    let settings: NetworkSettings
    let stack: LinkStack
    private var isUp: Set<String> = []
    /// Cards that could not be brought up, and why.
    private var refusals: [String: SystemError] = [:]

    init(boot: Boot, settings: NetworkSettings, stack: LinkStack) {
      self.boot = boot
      self.settings = settings
      self.stack = stack
    }

    private var wanted: MACAddress? { boot.commandLine.hardwareAddress }
    /// The one of an InfiniBand port is made here, and says nothing of which port booted.
    private var wantedCard: MACAddress? { settings.infiniBand == nil ? wanted : nil }

    /// - Returns: The card that speaks for the machine, and the interface to build on; `nil` while nothing has a carrier.
    mutating func found(takingPart isPartial: Bool) throws -> (card: NetworkCard, base: String)? {
      if let bond = settings.bond { return try bonded(bond, takingPart: isPartial) }
      let candidates = CardChoice.candidates(
        wanted: wantedCard, device: settings.address?.device ?? settings.infiniBand?.device, among: boot.cards,
        withoutAnswer: boot.cardsWithoutAnswer)
      for card in candidates where isUp.insert(card.name).inserted {
        do {
          try boot.interfaces.bringUp(card.name)
        } catch {
          // Another card may be the one.
          boot.say("\(error)")
          refusals[card.name] = error
        }
      }
      if let refusal = candidates.first.flatMap({ refusals[$0.name] }),
        candidates.allSatisfy({ refusals[$0.name] != nil })
      {
        throw refusal
      }
      guard var card = candidates.first(where: { boot.interfaces.hasCarrier($0.name) == true }) else { return nil }
      // The node is known by the address that it was added with, and its port to DHCP by its identifier.
      if settings.infiniBand != nil, let wanted { card.hardwareAddress = wanted }
      return (card, card.name)
    }

    private mutating func bonded(
      _ bond: NetworkSettings.Bond, takingPart isPartial: Bool
    ) throws -> (card: NetworkCard, base: String)? {
      let members = boot.cards.filter(bond.has)
      guard members.count == bond.members.count || isPartial && !members.isEmpty else { return nil }
      let ordered = members.filter { $0.hardwareAddress == wanted } + members.filter { $0.hardwareAddress != wanted }
      if isUp.count < ordered.count {
        try stack.join(ordered, as: bond)
        isUp = Set(ordered.map(\.name))
        if ordered.count < bond.members.count {
          boot.say("the bond has \(ordered.count) of \(bond.members.count) cards: \(CardChoice.list(ordered))")
        }
      }
      guard let card = ordered.first, boot.interfaces.hasCarrier(LinkStack.bondName) == true else { return nil }
      return (card, LinkStack.bondName)
    }

    var complaint: String {
      if let bond = settings.bond {
        return
          "no carrier in \(Int(boot.commandLine.linkSeconds)) s on a bond of \(bond.members.joined(separator: ", ")); "
          + "cards with a driver: \(CardChoice.list(boot.cards))"
      }
      return CardChoice.complaint(wanted: wantedCard, among: boot.cards, boot: boot)
    }
  }
}

/// Which card is the right one.
package enum CardChoice {
  /// The card that booted alone; every card where the command line does not say which it was, those on
  /// whose network nobody answered last.
  package static func candidates(
    wanted: MACAddress?, device: String? = nil, among cards: [NetworkCard], withoutAnswer: Set<String> = []
  ) -> [NetworkCard] {
    if let device { return cards.filter { $0.name == device } }
    if let wanted { return cards.filter { $0.hardwareAddress == wanted } }
    return cards.filter { !withoutAnswer.contains($0.name) } + cards.filter { withoutAnswer.contains($0.name) }
  }

  static func list(_ cards: [NetworkCard]) -> String {
    cards.isEmpty ? "none" : cards.map { "\($0.name) (\($0.hardwareAddress))" }.joined(separator: ", ")
  }

  fileprivate static func complaint(wanted: MACAddress?, among cards: [NetworkCard], boot: Boot) -> String {
    let seconds = "in \(Int(boot.commandLine.linkSeconds)) s"
    if let wanted, candidates(wanted: wanted, among: cards).isEmpty {
      let failures = boot.modules?.failures.joined(separator: "; ") ?? ""
      return "no card with the address \(wanted) (BOOTIF or perseid.mac) appeared \(seconds); cards with a driver: "
        + list(cards) + (failures.isEmpty ? "; is its driver in the capsule's initramfs?" : "; modules: \(failures)")
    }
    if cards.isEmpty { return "no network card appeared \(seconds); is its driver in the capsule's initramfs?" }
    return "no carrier \(seconds) on \(list(cards)); is the cable in, and the switch port on?"
  }
}
