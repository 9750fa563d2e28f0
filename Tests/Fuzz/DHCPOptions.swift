// The contents of options that have a form of their own. The first byte of an input chooses one.
//
// module NetworkTypes: Sources/NetworkTypes/*.swift
// module DHCPWire: Sources/DHCP/Wire/*.swift
import DHCPWire

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  let bytes = Array(UnsafeBufferPointer(start: start, count: count))
  guard let choice = bytes.first else { return 0 }
  let option = bytes.dropFirst()
  switch choice % 4 {
  case 0:
    guard let domains = DomainSearch.decode(option) else { break }
    // Read from a message that may be long and full of pointers: each name is one that DNS allows.
    precondition(domains.allSatisfy { (1...253).contains($0.utf8.count) })
    precondition(DomainSearch.decode(DomainSearch.encode(domains)[...]) == domains)
  case 1:
    guard let routes = ClasslessRoute.decode(option) else { break }
    precondition(ClasslessRoute.decode(ClasslessRoute.encode(routes)[...]) == routes)
    precondition(routes.allSatisfy { ClasslessRoute($0.description) == $0 })
  case 2:
    let encapsulated = EncapsulatedOptions(option)
    for code in UInt8.min...UInt8.max { precondition((encapsulated[code]?.count ?? 0) <= 255) }
  default:
    var message = DHCPMessage(
      operation: .request, hardware: HardwareAddress(type: 1, length: 6, upper: 2 << 56, lower: 0), transaction: 1)
    message.options.set(.userClass, Array(option))
    precondition(message.userClasses.reduce(0) { $0 + $1.count } <= option.count)
  }
  return 0
}
