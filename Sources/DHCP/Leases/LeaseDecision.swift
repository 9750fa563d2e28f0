package import NetworkTypes

/// What a client does about its address (RFC 2131, section 4.3).
package enum LeaseEvent: Hashable, Sendable {
  /// DISCOVER, with the address the client would like (option 50).
  case discover(requested: IPv4Address?)
  /// REQUEST that names this server: SELECTING.
  case select(IPv4Address)
  /// REQUEST that names another server: our offer was not taken.
  case selectOther
  /// REQUEST with an address and no server: INIT-REBOOT.
  case reboot(IPv4Address)
  /// REQUEST from the address itself to this server: RENEWING.
  case renew(IPv4Address)
  /// REQUEST from the address itself to everyone: REBINDING.
  case rebind(IPv4Address)
  /// DECLINE: a stranger answers for the address.
  case decline(IPv4Address)
  /// RELEASE: the client has no more use for the address.
  case release(IPv4Address)
}

/// Who takes part in an event.
package struct LeaseClient: Hashable, Sendable {
  package var holder: LeaseHolder
  package var hostName: String?
  /// The address set aside for this client.
  package var reservation: IPv4Address?

  package init(holder: LeaseHolder, hostName: String? = nil, reservation: IPv4Address? = nil) {
    self.holder = holder
    self.hostName = hostName
    self.reservation = reservation
  }
}

/// What an event leads to.
package struct LeaseDecision: Hashable, Sendable {
  package enum Outcome: Hashable, Sendable {
    /// Send an OFFER. Nothing is written.
    case offer(IPv4Address)
    /// Send an ACK once the changes are on the disk.
    case acknowledge(IPv4Address)
    /// Send a NAK.
    case refuse(IPv4Address)
    /// Send nothing; there may still be changes to write.
    case silence
  }

  package var outcome: Outcome
  package var reason: LeaseReason
  /// Leases to write, each in the place of the one with its address.
  package var changes: [Lease] = []
  /// An address that this client did not have before was offered without knowing whether a stranger uses
  /// it, since none that was probed was left.
  package var isUnprobed = false
}

/// Why a decision was made.
package enum LeaseReason: String, Hashable, Sendable {
  case reserved = "the address is set aside for this client"
  case offeredBefore = "the same address was offered to this client before"
  case heldBefore = "the client had this address before"
  case asked = "the client asked for this address, and it is free"
  case neverUsed = "the next address of the pool that nobody had"
  case longestUnused = "every address of the pool was used before; this one has been free the longest"
  case reclaimed = "no address is free; this one was offered to a machine that nobody registered, which did not take it"
  case poolExhausted = "no free address: the pool is exhausted (make it larger, or the lease time shorter)"
  case granted = "the client chose our offer"
  case confirmed = "the client still has this address"
  case renewed = "the lease was renewed"
  case recovered = "no lease was on record, but the address is free"
  case tookOther = "the client chose another server's offer"
  case notOffered = "the address was not offered to this client"
  case wrongNetwork = "the address is not of the client's network"
  case otherAddress = "the client's address is another one"
  case heldByOther = "another client has the address"
  case reservedForOther = "the address is set aside for another client"
  case unknownClient = "this client is not on record, and another server may know it"
  case declined = "the client found the address in use by a stranger; it is kept aside for a while"
  case released = "the client gave the address back"
  case notHolder = "the client does not have the address"
}
