// Whole frames off the wire: what is read lies within them.
//
// module NetworkTypes: Sources/NetworkTypes/*.swift
// module DHCPWire: Sources/DHCP/Wire/*.swift
// module DHCP: Sources/DHCP/RouterSearch/RouterMessage.swift Sources/DHCP/RouterSearch/RouterSearch.swift
import DHCP
import DHCPWire
import NetworkTypes

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  let frame = Span(_unsafeStart: start, count: count)
  if let message = RouterMessage(frame) {
    var search = RouterSearch(ownCard: .broadcast)
    for time in [0, 0.25] { search.heard(message, at: time) }
    precondition(search.answersDue(at: 1).count <= 1)
  }
  guard let (headers, payload) = try? UDPFrame.parse(frame) else { return 0 }
  precondition(payload.lowerBound >= UDPFrame.headerLength && payload.upperBound <= count)
  // The same datagram in headers of our own is the same again.
  var own = [UInt8](repeating: 0, count: UDPFrame.headerLength)
  for index in payload { own.append(frame[index]) }
  headers.writeHeaders(into: &own)
  guard let (again, place) = try? UDPFrame.parse(own.span) else { fatalError("what was written cannot be read") }
  precondition(again == headers && place.count == payload.count)
  return 0
}
