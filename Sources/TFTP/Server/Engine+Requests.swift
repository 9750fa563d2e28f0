import CLinux
import Logging
import NetworkTypes

/// From a request to its transfer.
extension Engine {
  func requested(_ bytes: UnsafeRawBufferPointer, by peer: Peer, _ addresses: clinux_tftp_addresses) {
    let request: Request
    do {
      request = try Request(parsing: bytes)
    } catch {
      refuse(.illegalOperation, "\(error)", addresses)
      return
    }
    let name = RequestedName(request.name)
    guard request.operation == .read else {
      let reason = "this server takes no files: it only hands out what machines boot from"
      refuse(.accessViolation, reason, addresses)
      observe(.refused("an upload: \(reason)"), name, peer)
      return
    }
    switch conversations[peer] {
    case .lookingUp(_, request, _, _), .finished(request): return
    case .active(let token):
      guard let active = transfers[token] else { break }
      if active.request == request {
        if !active.transfer.isConfirmed || now < active.heardAt + Self.restartSilence {
          perform(active.transfer.requestRepeated(at: now), token, active)
          return
        }
        end(token, active, .failed("the client began again"))
      } else if !active.transfer.isConfirmed && active.transfer.parameters.negotiation.sizeAsked {
        end(token, active, .probed)
      } else {
        end(token, active, .failed("the client asked for another file"))
      }
    case .lookingUp, .finished, nil: break
    }
    guard lookups < Self.maximumLookups,
      transfersPerClient[peer.address, default: 0] < configuration.maximumTransfersPerClient
    else {
      logger.debug("TFTP request dropped: too many at once", metadata: ["client": "\(peer.address)"])
      return
    }
    lastLookup += 1
    lookups += 1
    conversations[peer] = .lookingUp(
      number: lastLookup, request: request, name: name, localAddress: addresses.local_address)
    ask(
      Lookup(
        number: lastLookup, peer: peer, name: name, server: IPv4Address(rawValue: addresses.local_address)))
  }

  func answered(_ lookup: Lookup, _ answer: ContentAnswer) {
    lookups -= 1
    // The client may have asked for something else meanwhile.
    guard case .lookingUp(lookup.number, let request, let name, let local) = conversations[lookup.peer] else { return }
    conversations[lookup.peer] = nil
    let addresses = clinux_tftp_addresses(
      peer_address: lookup.peer.address.rawValue, peer_port: lookup.peer.port, local_address: local)
    switch answer {
    case .notFound(let text):
      refuse(.fileNotFound, text, addresses)
      observe(.refused(text), name, lookup.peer)
    case .refused(let text):
      refuse(.undefined, text, addresses)
      observe(.refused(text), name, lookup.peer)
    case .content(let content): begin(request, name, lookup.peer, addresses) { try opener.open(content) }
    case .file(let file): begin(request, name, lookup.peer, addresses) { OpenContent(file: file) }
    }
  }

  private func begin(
    _ request: Request, _ name: RequestedName, _ peer: Peer, _ addresses: clinux_tftp_addresses,
    _ open: () throws -> OpenContent
  ) {
    do {
      var opened = try open()
      if request.mode == .netascii {
        guard opened.size <= Self.maximumText else {
          throw ContentOpener.Failure(description: "too large for netascii: ask in octet mode")
        }
        opened = try opened.netascii()
      }
      try begin(request, name, opened, peer, addresses)
    } catch {
      logger.error("TFTP cannot send a file", metadata: ["name": "\(name.original)", "reason": "\(error)"])
      refuse(.undefined, "the server \(error)", addresses)
      observe(.failed("\(error)"), name, peer)
    }
  }

  /// Bytes of the longest text: netascii is made in memory.
  private static var maximumText: Int { 16 << 20 }

  private func begin(
    _ request: Request, _ name: RequestedName, _ content: OpenContent, _ peer: Peer,
    _ addresses: clinux_tftp_addresses
  ) throws {
    if transfers.count >= maximumTransfers {
      // Whoever has not answered yet has lost least.
      guard let token = transfers.oldestUnconfirmed(), let oldest = transfers[token] else { return }
      end(token, oldest, .failed("the client had not answered yet when others needed its place"))
    }
    let negotiation = Negotiation(request.options, limits: limits, size: content.size)
    let firstAnswer =
      negotiation.acknowledged.isEmpty
      ? Packet.headerSize + min(content.size, negotiation.blockSize)
      : Packet.optionAcknowledgement(negotiation.acknowledged).bytes.count
    let transfer = Transfer(
      Transfer.Parameters(
        size: content.size, negotiation: negotiation, numbering: configuration.numbering,
        requestSize: request.bytes.count, firstAnswerSize: firstAnswer))
    var route = listeningRoute(addresses)
    var port: TransferPort?
    var line: UDPSocket?
    if !configuration.usesSinglePort {
      let own = try ports.port(
        for: peer, at: addresses.local_address, isShared: negotiation.windowSize == 1
      ) { port throws(SystemError) in try wait(for: port.descriptor, UInt64(port.index)) }
      port = own
      route.descriptor = own.descriptor
      // It is bound to the right address already.
      route.addresses.local_address = 0
      // Where there can be no line, it goes without.
      if transfers.count == 0, let direct = try? own.line(to: peer) {
        // It is connected.
        route = BlockSender.Route(descriptor: direct.descriptor, addresses: clinux_tftp_addresses())
        line = consume direct
      }
    }
    let active = ActiveTransfer(
      peer: peer, request: request, name: name, content: content, transfer: transfer, port: port, line: line,
      route: route, at: now)
    let token = transfers.add(active)
    port?.add(token, with: peer)
    conversations[peer] = .active(token)
    transfersPerClient[peer.address, default: 0] += 1
    if active.isOnLine {
      do {
        try wait(for: active.route.descriptor, token)
      } catch {
        end(token, active, .failed("the server cannot wait for its packets: \(error)"))
        return
      }
    }
    observer.observed(active.event(.started, at: now))
    perform(active.transfer.begin(at: now), token, active)
  }

  private func wait(for descriptor: Int32, _ token: UInt64) throws(SystemError) {
    let result = clinux_tftp_epoll_add(epoll, descriptor, token)
    guard result == 0 else { throw SystemError(number: -result) }
  }
}
