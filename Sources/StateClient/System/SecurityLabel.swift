import CLinux
import Glibc

/// SELinux's labels in a root that is not running yet: without its label a file may be refused to the system that
/// is to read it.
package enum SecurityLabel {
  private static let name = "security.selinux"

  /// The label of a file; `nil` in a root that has none.
  package static func of(_ path: String) -> [UInt8]? {
    var value = [UInt8](repeating: 0, count: 1024)
    let length = clinux_attribute_of_link(path, name, &value, UInt64(value.count))
    return length > 0 ? Array(value.prefix(Int(length))) : nil
  }

  /// The label that what is put at a path is to have: that of what is there, else of the nearest directory above.
  package static func expected(at path: String) -> [UInt8]? {
    var place = Substring(path)
    while !place.isEmpty {
      if SmallFile.exists(String(place)) { return of(String(place)) }
      place = place.prefix(upTo: place.lastIndex(of: "/") ?? place.startIndex)
    }
    return nil
  }

  /// Gives a file its label. Where that is refused it goes on without: the system's own `restorecon` can still do it.
  package static func set(_ label: [UInt8]?, on path: String) {
    guard let label else { return }
    _ = clinux_set_attribute_of_link(path, name, label, UInt64(label.count))
  }
}
