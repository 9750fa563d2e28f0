package import DHCP

/// What is tried with one machine's PXE firmware, which says nothing of why it does not boot: it only asks again. A pure
/// state machine, fed by what was offered, what was loaded, and whether what was loaded ever spoke.
///
/// - It asks again and again and loads nothing: the next way of telling it (``DHCP/BootDelivery``).
/// - It loads iPXE whole, which never speaks, and then asks again: as with Secure Boot on. shim and GRUB, which are signed.
/// - What was loaded speaks: that is what works, and is remembered.
package struct FirmwareTrial: Hashable, Sendable {
  package enum Loader: String, Hashable, Sendable, Codable {
    /// What is set for the node.
    case usual
    /// shim and GRUB.
    case signed
  }

  /// One way to answer.
  package struct Strategy: Hashable, Sendable, Codable {
    package var delivery: BootDelivery
    package var loader: Loader

    package init(_ delivery: BootDelivery, _ loader: Loader = .usual) {
      self.delivery = delivery
      self.loader = loader
    }

    package var words: String {
      loader == .usual ? delivery.words : "\(delivery.words); shim and GRUB in iPXE's place"
    }
  }

  /// What was offered last; `nil` before the first offer.
  package private(set) var current: Strategy?
  /// What worked last.
  package private(set) var proven: Strategy?
  /// What firmware of this kind gets first.
  package private(set) var usual: Strategy?
  /// Offers since the firmware last loaded something.
  private var offers = 0
  /// The firmware has asked for the file that was offered last.
  private var isLoading = false
  /// What was offered is loaded, and has not spoken yet.
  private var isLoaded = false
  /// How many times in a row what was loaded did not speak.
  private var silences = 0

  /// Offers of one kind that are made before the next kind: firmware asks four times, 4, 8, 16 and 32 seconds apart, so
  /// that two kinds have their turn before it gives up; and it does not leave at once what worked before.
  package static let patience = 2
  package static let patienceWithProven = 4
  /// How many times in a row iPXE that spoke before must be loaded and stay silent: power may have been cut.
  package static let silencesOfProven = 3

  package init(proven: Strategy? = nil) {
    self.proven = proven
    current = proven
  }

  /// What to answer a DISCOVER with.
  /// - Parameters:
  ///   - order: The deliveries there are for this firmware, the best one first.
  ///   - canSign: Whether shim and GRUB may be tried; asked only where it matters.
  package func next(of order: [BootDelivery], canSign: () -> Bool) -> Strategy? {
    guard let first = order.first else { return nil }
    // Other firmware on the same card than before: what was tried with that one says nothing.
    if let usual, usual.delivery != first { return Strategy(first) }
    guard var strategy = current, let index = order.firstIndex(of: strategy.delivery) else { return Strategy(first) }
    if isLoaded {
      let silences = silences + 1
      if strategy.loader == .signed {
        strategy.loader = .usual
      } else if silences >= (proven?.loader == .usual ? Self.silencesOfProven : 1) {
        strategy.loader = .signed
      }
    } else if offers >= (strategy == proven ? Self.patienceWithProven : Self.patience) {
      strategy.delivery = order[(index + 1) % order.count]
    }
    if strategy.loader == .signed, !canSign() { strategy.loader = .usual }
    return strategy
  }

  /// What to answer that is bound to an offer: the same as there.
  package func bound(to order: [BootDelivery], canSign: () -> Bool) -> Strategy? {
    guard var strategy = current, order.contains(strategy.delivery) else { return order.first.map { Strategy($0) } }
    if strategy.loader == .signed, !canSign() { strategy.loader = .usual }
    return strategy
  }

  /// An OFFER with a boot file left.
  /// - Parameter usual: What firmware of this kind gets first.
  /// - Returns: Whether it is another one than before.
  package mutating func offered(_ strategy: Strategy, usual: Strategy? = nil) -> Bool {
    let before = current
    self.usual = usual
    if isLoaded { silences += 1 }
    if before?.loader != strategy.loader { silences = 0 }
    offers = strategy == before ? offers + 1 : 1
    isLoaded = false
    isLoading = false
    current = strategy
    return before != nil && before != strategy
  }

  /// The firmware asked for its boot file.
  package mutating func loading() {
    offers = 0
    isLoading = true
  }

  /// It has all of it.
  package mutating func loaded() {
    offers = 0
    isLoading = true
    isLoaded = true
  }

  /// iPXE or another loader speaks. That proves what was offered where the firmware loaded it from here; a card may have
  /// an iPXE of its own.
  /// - Returns: Whether another strategy is proven now than before.
  package mutating func spoke() -> Bool {
    let isOurs = isLoading
    offers = 0
    isLoading = false
    isLoaded = false
    silences = 0
    guard isOurs, let current, current != proven else { return false }
    proven = current
    return true
  }
}
