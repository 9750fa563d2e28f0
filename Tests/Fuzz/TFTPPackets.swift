// Any bytes as packets and requests: what is read is within bounds, and can be written and read again.
//
// module TFTP: Sources/TFTP/Wire/*.swift
import TFTP

/// Any bytes as a datagram to the TFTP server: parsed, negotiated, and written again.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  let bytes = Array(UnsafeBufferPointer(start: start, count: count))
  checkPacket(bytes)
  checkText(bytes)
  guard let request = try? Request(parsing: bytes) else { return 0 }
  precondition(count <= Request.maximumSize && !request.name.isEmpty && !request.name.contains(0))
  precondition(request.options.count <= 32)
  precondition(request.options.allSatisfy { !$0.name.contains(0) && !$0.name.isEmpty && !$0.value.contains(0) })
  if request.bytes.count <= Request.maximumSize {
    precondition((try? Request(parsing: request.bytes)) == request, "a request is not what was written")
  }
  checkName(request.name)
  for (mtu, window, size) in [(1500, 64, 1 << 40), (576, 1, 0), (9000, 32767, 1)] {
    checkNegotiation(request.options, .init(mtu: mtu, windowSize: window), size)
  }
  return 0
}

private func checkPacket(_ bytes: [UInt8]) {
  guard let packet = Packet(parsing: bytes) else { return }
  guard let again = Packet(parsing: packet.bytes) else { preconditionFailure("a packet cannot be read again") }
  precondition(again == packet, "a packet is not what was written")
  if case .error(_, let text) = packet {
    precondition(text.utf8.count <= 128 && text.utf8.allSatisfy { (0x20...0x7E).contains($0) })
  }
}

private func checkText(_ bytes: [UInt8]) {
  precondition(Netascii.decode(Netascii.encode(bytes)) == bytes, "text is not what it was")
}

private func checkName(_ bytes: [UInt8]) {
  let name = RequestedName(bytes)
  precondition(name.candidates.count <= 2)
  precondition(name.original.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7F })
  for candidate in name.candidates {
    let parts = candidate.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).map(Array.init)
    precondition(!parts.contains([]) && !parts.contains(Array("..".utf8)) && !parts.contains(Array(".".utf8)))
    precondition(!candidate.utf8.contains { $0 < 0x20 || $0 == UInt8(ascii: "\\") })
  }
}

private func checkNegotiation(_ options: [Request.Option], _ limits: Negotiation.Limits, _ size: Int) {
  let result = Negotiation(options, limits: limits, size: size)
  precondition((8...65464).contains(result.blockSize) && result.blockSize <= max(512, limits.blockSize))
  precondition((1...limits.windowSize).contains(result.windowSize))
  precondition(result.windowSize == 1 || result.windowSize * result.blockSize <= 128 << 10)
  precondition(result.timeout.map { (1...255).contains($0) } ?? true)
  precondition(result.acknowledged.count <= 4, "an option was acknowledged twice, or one that there is not")
  for option in result.acknowledged {
    precondition(options.contains { $0.name == option.name }, "an option was acknowledged that was not asked for")
  }
}
