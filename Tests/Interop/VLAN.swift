/// IEEE 802.1Q.
enum VLAN {
  /// A frame with the tag of VLAN 20.
  static func tagged(_ frame: [UInt8]) -> [UInt8] {
    Array(frame[..<12]) + [0x81, 0x00, 0, 20] + frame[12...]
  }
}
