package import NetworkTypes

/// What the lease machine asks of whoever knows the machines.
package struct AddressBook: Sendable {
  /// Whose address this is: the card it is set aside for.
  package var owner: @Sendable (IPv4Address) -> MACAddress?
  /// Whether this card is a registered machine's.
  package var isKnown: @Sendable (MACAddress) -> Bool
  /// How many registered machines have no address yet.
  package var waiting: @Sendable () -> Int

  package init(
    owner: @escaping @Sendable (IPv4Address) -> MACAddress? = { _ in nil },
    isKnown: @escaping @Sendable (MACAddress) -> Bool = { _ in false },
    waiting: @escaping @Sendable () -> Int = { 0 }
  ) {
    self.owner = owner
    self.isKnown = isKnown
    self.waiting = waiting
  }

  func isKnown(_ holder: LeaseHolder) -> Bool {
    if case .hardware(let card) = holder { isKnown(card) } else { false }
  }
}
