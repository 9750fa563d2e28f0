// Messages from anyone: reading one never traps, and what is read can be written and read again.
//
// module NetworkTypes: Sources/NetworkTypes/*.swift
// module DHCPWire: Sources/DHCP/Wire/*.swift
import DHCPWire

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  guard let message = try? DHCPMessage(parsing: Span(_unsafeStart: start, count: count)) else { return 0 }
  look(at: message)
  let written = message.serialized()
  // The relay agent's option is never left out, and may be all that a message of 4096 bytes held.
  guard written.count <= DHCPMessage.maximumLength else { return 0 }
  guard let again = try? DHCPMessage(parsing: written.span) else { fatalError("what was written cannot be read") }
  precondition(again.messageType == message.messageType && again.transaction == message.transaction)
  // What did not fit went elsewhere, in another order.
  let moves: [DHCPOptionCode] = [.overload, .relayAgentInformation]
  guard !moves.contains(where: again.options.contains) else { return 0 }
  guard let third = try? DHCPMessage(parsing: again.serialized().span) else { fatalError("nor a second time") }
  precondition(third == again, "writing changed the message")
  return 0
}

/// Every view of every option.
private func look(at message: DHCPMessage) {
  _ = (message.requestedAddress, message.serverIdentifier, message.subnetSelection, message.parameterRequestList)
  _ = (message.maximumMessageSize, message.clientIdentifier, message.machineIdentifier, message.architectures)
  _ = (message.clientInterface, message.userClasses, message.linkSelection, message.serverIdentifierOverride)
  _ = (message.domainSearch, message.classlessRoutes, message.hardware.ethernet)
  for code in message.options.codes {
    _ = (message.options.text(code), message.options.addresses(code), message.options.unsigned16(code))
  }
  for type in [DHCPMessageType.offer, .acknowledge, .refuse, nil] {
    _ = ReplyDestination(replyTo: message, type: type, address: message.yourAddress)
  }
}
