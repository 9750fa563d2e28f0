import DHCPWire
import NetworkTypes

/// Writes replies. Everything that is the same for all clients of a network is made once.
struct ReplyComposer: Sendable {
  private struct NetworkOptions: Sendable {
    var netmask: IPv4Address
    var broadcast: IPv4Address
    var router: IPv4Address?
    var mtu: UInt16?
    /// Options 119 and 121 as they are written; empty for none.
    var domainSearch: [UInt8]
    var routes: [UInt8]

    init(_ network: DHCPServerConfiguration.Network) {
      netmask = network.subnet.netmask
      broadcast = network.subnet.broadcast
      router = network.router
      mtu = network.mtu
      domainSearch = DomainSearch.encode(network.domainSearch)
      var routes = network.routes
      // RFC 3442: who takes these routes ignores the router option, so that the default route has to be
      // among them.
      if !routes.isEmpty, let router, let all = IPv4Subnet(containing: .any, prefixLength: 0),
        !routes.contains(where: { $0.destination == all })
      {
        routes.append(ClasslessRoute(destination: all, router: router))
      }
      self.routes = ClasslessRoute.encode(routes)
    }
  }

  private let configuration: DHCPServerConfiguration
  private let networks: [NetworkOptions]
  private let domain: [UInt8]
  /// The server's address in text, for option 66.
  let serverAddressText: [UInt8]

  init(_ configuration: DHCPServerConfiguration) {
    self.configuration = configuration
    networks = configuration.networks.map(NetworkOptions.init)
    domain = Array((configuration.domain ?? "").utf8)
    serverAddressText = Array(configuration.serverAddress.description.utf8)
  }

  /// The message, behind ``UDPFrame/headerLength`` bytes of room for headers.
  ///
  /// - Parameters:
  ///   - type: OFFER or ACK; `nil` for BOOTP, which knows no server identifier and no lease.
  ///   - address: `yiaddr`; 0.0.0.0 in answer to INFORM, which gets no lease times either (RFC 2131,
  ///     section 4.3.5).
  func reply(
    _ type: DHCPMessageType?, to request: DHCPMessage, network: Int, address: IPv4Address, boot: BootOptions,
    hostName: String?
  ) -> [UInt8] {
    var fixed = header(replyTo: request)
    // RFC 2131, table 3: ciaddr of an ACK is the request's; an OFFER's is 0. So is it in BOOTP where
    // the client is given an address (RFC 951, section 7.3).
    fixed.clientAddress = type == .acknowledge ? request.clientAddress : .any
    fixed.yourAddress = address
    fixed.nextServer = boot.nextServer
    // A name that is too long for the field is in option 67 alone: half a name is worse than none.
    fixed.bootFile = boot.file.count <= 127 ? boot.file : []
    var writer = DHCPMessageWriter(
      behind: UDPFrame.headerLength, fixedPartOf: fixed, type: type, maximumLength: maximumLength(for: request))
    if type != nil { writer.add(.serverIdentifier, serverIdentifier(for: request)) }
    if type != nil, address != .any {
      let lease = configuration.leaseSeconds
      writer.add(.leaseTime, lease)
      writer.add(.renewalTime, lease / 2)
      writer.add(.rebindingTime, UInt32(UInt64(lease) * 7 / 8))
    }
    let options = networks[network]
    writer.add(.subnetMask, options.netmask)
    let takesRoutes = !options.routes.isEmpty && request.asks(for: .classlessRoutes)
    // RFC 3442: to whom asks for both, "the DHCP server SHOULD NOT include the Router option".
    if let router = options.router, !takesRoutes { writer.add(.router, router) }
    boot.write(into: &writer)
    echo(request, into: &writer)
    if takesRoutes { writer.add(.classlessRoutes, bytes: options.routes) }
    writeRequested(into: &writer, request, options, hostName)
    return writer.finish(echoing: request.options[.relayAgentInformation])
  }

  /// What is said of the boot alone, behind room for headers: a proxy's OFFER, or the answer of port 4011. The address
  /// is another message's business (PXE specification 2.1, sections 2.2.3 and 2.2.4).
  func bootReply(_ type: DHCPMessageType, to request: DHCPMessage, boot: BootOptions) -> [UInt8] {
    var fixed = header(replyTo: request)
    fixed.clientAddress = request.clientAddress
    fixed.nextServer = boot.nextServer
    fixed.bootFile = boot.file.count <= 127 ? boot.file : []
    var writer = DHCPMessageWriter(
      behind: UDPFrame.headerLength, fixedPartOf: fixed, type: type, maximumLength: maximumLength(for: request))
    writer.add(.serverIdentifier, serverIdentifier(for: request))
    boot.write(into: &writer)
    echo(request, into: &writer)
    return writer.finish(echoing: request.options[.relayAgentInformation])
  }

  /// A NAK, behind room for headers (RFC 2131, table 3: every address 0).
  func refusal(to request: DHCPMessage, reason: String) -> [UInt8] {
    var fixed = header(replyTo: request)
    // Section 4.3.2: "If 'giaddr' is set in the DHCPREQUEST message ... the server MUST set the
    // broadcast bit in the DHCPNAK, so that the relay agent will broadcast the DHCPNAK to the client".
    if request.relay != .any { fixed.wantsBroadcast = true }
    var writer = DHCPMessageWriter(
      behind: UDPFrame.headerLength, fixedPartOf: fixed, type: .refuse, maximumLength: maximumLength(for: request))
    writer.add(.serverIdentifier, serverIdentifier(for: request))
    writer.add(.message, bytes: reason.utf8)
    echo(request, into: &writer)
    return writer.finish(echoing: request.options[.relayAgentInformation])
  }

  /// The name this server goes by for that client: its own address, or the one the relay agent put
  /// in its place (RFC 5107).
  func serverIdentifier(for request: DHCPMessage) -> IPv4Address {
    request.relay == .any
      ? configuration.serverAddress : request.serverIdentifierOverride ?? configuration.serverAddress
  }

  /// What option 57 allows behind IP and UDP headers, and no more than an Ethernet frame takes.
  private func maximumLength(for request: DHCPMessage) -> Int {
    // What the relay agent gets back has its room before all else.
    let echoed = request.options[.relayAgentInformation].map { $0.count + 2 * max(1, ($0.count + 254) / 255) } ?? 0
    // RFC 951, section 3: a BOOTP message has 300 bytes.
    return request.messageType == nil ? 300 : min(request.maximumMessageSize, 1500) - 28 - echoed
  }

  private func header(replyTo request: DHCPMessage) -> DHCPMessage {
    DHCPMessage(
      operation: .reply, hardware: request.hardware, transaction: request.transaction, flags: request.flags,
      relay: request.relay)
  }

  /// Options sent only where they are asked for (option 55), or where nothing is asked for at all.
  private func writeRequested(
    into writer: inout DHCPMessageWriter, _ request: DHCPMessage, _ options: NetworkOptions, _ hostName: String?
  ) {
    let list = request.parameterRequestList
    func isWanted(_ code: DHCPOptionCode) -> Bool { list?.contains(code.rawValue) ?? true }
    if let hostName, isWanted(.hostName) { writer.add(.hostName, bytes: hostName.utf8) }
    if isWanted(.nameServers) { writer.add(.nameServers, configuration.nameServers) }
    if !domain.isEmpty, isWanted(.domainName) { writer.add(.domainName, bytes: domain) }
    if isWanted(.timeServers) { writer.add(.timeServers, configuration.timeServers) }
    guard list != nil else { return }
    if isWanted(.broadcastAddress) { writer.add(.broadcastAddress, options.broadcast) }
    if let mtu = options.mtu, isWanted(.interfaceMTU) { writer.add(.interfaceMTU, mtu) }
    if !options.domainSearch.isEmpty, isWanted(.domainSearch) {
      writer.add(.domainSearch, bytes: options.domainSearch)
    }
  }

  /// RFC 6842: "the server MUST return the client identifier". The GUID (option 97) is returned to
  /// PXE clients (RFC 4578, section 2.3 asks for it; some drop replies without). RFC 3011: servers "MUST return an identical
  /// copy" of the subnet selection, without which clients "MUST discard" the reply.
  private func echo(_ request: DHCPMessage, into writer: inout DHCPMessageWriter) {
    if let identifier = request.clientIdentifier { writer.add(.clientIdentifier, bytes: identifier) }
    if request.machineIdentifier != nil, let raw = request.options[.machineIdentifier] {
      writer.add(.machineIdentifier, bytes: raw)
    }
    if request.subnetSelection != nil, let raw = request.options[.subnetSelection] {
      writer.add(.subnetSelection, bytes: raw)
    }
  }
}

extension DHCPMessage {
  /// Whether the client names an option in its parameter request list.
  fileprivate func asks(for code: DHCPOptionCode) -> Bool {
    parameterRequestList?.contains(code.rawValue) ?? false
  }
}
