package import NetworkTypes

/// A route of option 121 (RFC 3442), written `192.168.0.0/16 via 10.0.0.254`.
package struct ClasslessRoute: Hashable, Sendable {
  package var destination: IPv4Subnet
  /// 0.0.0.0: the destination is on the client's own link.
  package var router: IPv4Address

  package init(destination: IPv4Subnet, router: IPv4Address) {
    self.destination = destination
    self.router = router
  }

  /// The option's bytes: for each route the length of its prefix, those bytes of it that are not
  /// all host bits, and the router.
  package static func encode(_ routes: [ClasslessRoute]) -> [UInt8] {
    routes.flatMap { route in
      let length = route.destination.prefixLength
      return [UInt8(length)] + route.destination.network.bytes.prefix((length + 7) / 8) + route.router.bytes
    }
  }

  /// Reads the option.
  /// - Returns: `nil` where its bytes are not a list of whole routes.
  package static func decode(_ bytes: ArraySlice<UInt8>) -> [ClasslessRoute]? {
    var routes: [ClasslessRoute] = []
    var rest = bytes
    while let length = rest.popFirst() {
      let significant = (Int(length) + 7) / 8
      guard length <= 32, rest.count >= significant + 4 else { return nil }
      let network = Array(rest.prefix(significant)) + [UInt8](repeating: 0, count: 4 - significant)
      rest = rest.dropFirst(significant)
      guard let address = IPv4Address(bytes: network), let router = IPv4Address(bytes: rest.prefix(4)),
        let destination = IPv4Subnet(containing: address, prefixLength: Int(length))
      else { return nil }
      rest = rest.dropFirst(4)
      routes.append(ClasslessRoute(destination: destination, router: router))
    }
    return routes
  }
}

extension ClasslessRoute: LosslessStringConvertible {
  package init?(_ description: String) {
    let words = description.split(separator: " ")
    guard words.count == 3, words[1] == "via", let destination = IPv4Subnet(String(words[0])),
      let router = IPv4Address(String(words[2]))
    else { return nil }
    self.init(destination: destination, router: router)
  }

  package var description: String { "\(destination) via \(router)" }
}
