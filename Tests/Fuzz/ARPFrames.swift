// Address resolution off the wire: what is read is a card's and an address of somebody.
//
// module NetworkTypes: Sources/NetworkTypes/*.swift
// module DHCP: Sources/DHCP/Probe/ARPFrame.swift
import DHCP
import NetworkTypes

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  guard let frame = ARPFrame(Span(_unsafeStart: start, count: count)) else { return 0 }
  precondition(frame.card.isUnicast && frame.address != .any)
  // Our own probe has no sender's address, so nobody takes it for one.
  precondition(ARPFrame(ARPFrame.probe(for: frame.address, from: frame.card).span) == nil)
  return 0
}
