package import NetworkTypes
package import StateClient

/// Finds the card that booted, brings it up and waits for its carrier.
enum Link {
  static func run(_ boot: Boot) throws {
    let wanted = boot.commandLine.hardwareAddress
    let deadline = Clock.now + boot.commandLine.linkSeconds
    var isUp: Set<String> = []
    while true {
      let cards = NetworkCard.all()
      boot.cards = cards
      for card in CardChoice.candidates(wanted: wanted, among: cards) {
        if isUp.insert(card.name).inserted { try boot.interfaces.bringUp(card.name) }
        if boot.interfaces.hasCarrier(card.name) == true {
          boot.card = card
          boot.debug("card \(card.name), \(card.hardwareAddress)")
          return
        }
      }
      guard Clock.now < deadline else {
        throw StepFailure(what: CardChoice.complaint(wanted: wanted, among: cards, boot: boot), canRetry: true)
      }
      // Carrier comes when the far side and this one have agreed; sysfs has no event for a plain read.
      Clock.sleep(0.02)
    }
  }
}

/// Which card is the right one.
package enum CardChoice {
  /// The card that booted alone; every card where the command line does not say which it was.
  package static func candidates(wanted: MACAddress?, among cards: [NetworkCard]) -> [NetworkCard] {
    guard let wanted else { return cards }
    return cards.filter { $0.hardwareAddress == wanted }
  }

  fileprivate static func complaint(wanted: MACAddress?, among cards: [NetworkCard], boot: Boot) -> String {
    let list =
      cards.isEmpty
      ? "none" : cards.map { "\($0.name) (\($0.hardwareAddress))" }.joined(separator: ", ")
    let seconds = "in \(Int(boot.commandLine.linkSeconds)) s"
    if let wanted, candidates(wanted: wanted, among: cards).isEmpty {
      let failures = boot.modules?.failures.joined(separator: "; ") ?? ""
      return "no card with the address \(wanted) (BOOTIF or perseid.mac) appeared \(seconds); cards with a driver: "
        + list + (failures.isEmpty ? "; is its driver in the capsule's initramfs?" : "; modules: \(failures)")
    }
    if cards.isEmpty { return "no network card appeared \(seconds); is its driver in the capsule's initramfs?" }
    return "no carrier \(seconds) on \(list); is the cable in, and the switch port on?"
  }
}
