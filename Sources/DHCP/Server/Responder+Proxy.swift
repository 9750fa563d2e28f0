package import DHCPWire
import NetworkTypes

/// What is answered of the boot alone: beside another server's addresses, and at port 4011.
extension Responder {
  /// Beside another server (PXE specification 2.1, section 2.2.3): the DISCOVER of firmware and of iPXE is answered
  /// with an OFFER without an address. Nothing is recorded; which address a client then takes shows in the REQUEST that
  /// it sends to everyone, and an observer is told.
  func proxied(_ message: DHCPMessage, _ type: DHCPMessageType?) throws(Ignored) -> Response {
    guard var client = ClientDescription(message, serverAddress: configuration.serverAddress) else { throw .nobody }
    client.isProxied = true
    switch type {
    case .discover:
      guard client.isBooting else { throw .notBooting }
      let answer = policy.boot(for: client)
      // Nothing to boot: silence, so that the firmware does not wait for more.
      guard answer.bootFile != nil else {
        return silence(to: message, .discover, client, nil, "there is nothing to boot", answer)
      }
      let options = BootOptions(answer, for: client, serverAddressText: composer.serverAddressText)
      let bytes = composer.bootReply(.offer, to: message, boot: options)
      // The client has no address yet, and other offers to compare with: to everyone, or to the relay agent.
      let destination: ReplyDestination = message.relay == .any ? .broadcast : .relay(message.relay)
      let exchange = exchange(
        DHCPMessageType.discover.name, DHCPMessageType.offer.name, client, nil, Exchange.proxied, boot: answer,
        quirks: options.quirks, message, bytes, destination)
      return Response(bytes: bytes, destination: destination, exchange: exchange, type: .offer)
    case .request:
      let address = message.requestedAddress ?? message.clientAddress
      guard address != .any else { throw .incompleteRequest }
      let server = message.serverIdentifier.map { "the server \($0) gives the address" }
      return silence(to: message, .request, client, address, server ?? Exchange.proxied, nil)
    case .decline, .release, .inform, .offer, .acknowledge, .refuse, nil:
      throw .notBooting
    }
  }

  /// Answers what came to port 4011 (PXE specification 2.1, section 2.2.4): a REQUEST, or an INFORM, of firmware that
  /// was told to ask here, and has an address.
  /// - Returns: A reply that goes back to where the question came from, whatever its `destination`.
  package func respond(toBootServerRequest message: DHCPMessage) throws(Ignored) -> Response {
    guard message.operation == .request else { throw .notARequest }
    guard let type = message.messageType, type == .request || type == .inform || type == .discover else {
      throw .serverMessage
    }
    guard var client = ClientDescription(message, serverAddress: configuration.serverAddress) else { throw .nobody }
    client.isProxied = configuration.mode == .proxy
    // What was offered is what is told here.
    client.isDiscovering = false
    guard client.isBooting else { throw .notBooting }
    let answer = policy.boot(for: client)
    guard answer.bootFile != nil else { throw .notBooting }
    let options = BootOptions(
      answer, for: client, serverAddressText: composer.serverAddressText, bootServerRequest: message)
    let address = message.clientAddress == .any ? message.requestedAddress : message.clientAddress
    let bytes = composer.bootReply(.acknowledge, to: message, boot: options)
    let destination = ReplyDestination(replyTo: message, type: .acknowledge, address: .any)
    let exchange = exchange(
      type.name, DHCPMessageType.acknowledge.name, client, address, Exchange.atBootServerPort, boot: answer,
      quirks: options.quirks, message, bytes, destination, serverPort: DHCPPort.bootServer)
    return Response(bytes: bytes, destination: destination, exchange: exchange, type: .acknowledge)
  }

  private func silence(
    to message: DHCPMessage, _ type: DHCPMessageType, _ client: ClientDescription, _ address: IPv4Address?,
    _ reason: String, _ boot: BootAnswer?
  ) -> Response {
    let exchange = exchange(type.name, nil, client, address, reason, boot: boot, message, [], .broadcast)
    return Response(bytes: [], destination: .broadcast, exchange: exchange)
  }
}

extension ClientDescription {
  /// Whether this is a program that loads what it boots.
  var isBooting: Bool {
    switch speaker {
    case .pxeFirmware, .httpFirmware, .ipxe: true
    case .perseid, .other: false
    }
  }
}
