package import NetworkTypes
package import StateClient

/// What the kernel command line says (kernel documentation, admin-guide/kernel-parameters).
package struct KernelCommandLine: Hashable, Sendable {
  /// Words in their order; `nil` where there is no `=`.
  package let words: [(name: String, value: String?)]

  /// Words are separated by white space, which double quotes keep: `a="b c"` and `"a=b c"`.
  package init(_ text: String) {
    var words: [String] = []
    var word = ""
    var isQuoted = false
    for character in text.unicodeScalars {
      if character == "\"" {
        isQuoted.toggle()
      } else if !isQuoted && character.properties.isWhitespace {
        if !word.isEmpty { words.append(word) }
        word = ""
      } else {
        word.unicodeScalars.append(character)
      }
    }
    if !word.isEmpty { words.append(word) }
    self.words = words.map { word in
      let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      return (String(parts[0]), parts.count == 2 ? String(parts[1]) : nil)
    }
  }

  /// The last value of that name, which is the one that counts.
  package func value(_ name: String) -> String? {
    words.last { $0.name == name }?.value
  }

  /// Whether the word is there, with a value or without one.
  package func has(_ name: String) -> Bool {
    words.contains { $0.name == name }
  }

  /// The appliance, and those that stand in for it: `perseid.server=10.0.0.1:9870`, or several with commas between.
  package var servers: [Endpoint] {
    (value("perseid.server") ?? "").split(separator: ",").compactMap { Endpoint(String($0)) }
  }

  /// The boot's name: `perseid.boot=`.
  package var boot: String? { value("perseid.boot") }

  /// The card that booted: `perseid.mac=`, else `BOOTIF=01-aa-bb-cc-dd-ee-ff` (pxelinux's form, with
  /// the hardware type in front).
  package var hardwareAddress: MACAddress? {
    if let address = value("perseid.mac").flatMap({ MACAddress($0) }) { return address }
    guard let text = value("BOOTIF") else { return nil }
    return MACAddress(text) ?? (text.hasPrefix("01-") ? MACAddress(String(text.dropFirst(3))) : nil)
  }

  /// `perseid.debug=1|2|3`; without a value 1.
  package var debug: Int { has("perseid.debug") ? value("perseid.debug").flatMap(Int.init) ?? 1 : 0 }

  /// A shell for a person where something fails and before the root is switched.
  package var wantsShell: Bool { has("perseid.shell") }

  /// Seconds of failure in a row until the machine restarts: `perseid.restart=`, 900; 0 is never.
  package var restartSeconds: Double { seconds("perseid.restart", 0...1e9) ?? 900 }

  /// Seconds to wait for the card and for its link: `perseid.linkwait=`, 30.
  package var linkSeconds: Double { seconds("perseid.linkwait", 1...600) ?? 30 }

  /// A number, or the end of the range that it is beyond; `nil` where it is none, as `nan` is.
  private func seconds(_ name: String, _ range: ClosedRange<Double>) -> Double? {
    guard let number = value(name).flatMap(Double.init), !number.isNaN else { return nil }
    return min(max(number, range.lowerBound), range.upperBound)
  }

  /// Parameters for a kernel module, as its `MODULE.parameter=value` words say.
  package func parameters(ofModule module: String) -> String {
    words.compactMap { word in
      guard let dot = word.name.firstIndex(of: "."),
        ModuleName(String(word.name[..<dot])) == ModuleName(module)
      else { return nil }
      let parameter = word.name[word.name.index(after: dot)...]
      guard !parameter.isEmpty else { return nil }
      guard let value = word.value else { return String(parameter) }
      return value.contains(" ") ? "\(parameter)=\"\(value)\"" : "\(parameter)=\(value)"
    }.joined(separator: " ")
  }

  /// Modules that are not to be loaded: `module_blacklist=` and `modprobe.blacklist=`.
  package var blacklist: Set<ModuleName> {
    Set(
      words.filter { $0.name == "module_blacklist" || $0.name == "modprobe.blacklist" }
        .flatMap { ($0.value ?? "").split(separator: ",") }.map { ModuleName(String($0)) })
  }

  package static func == (left: KernelCommandLine, right: KernelCommandLine) -> Bool {
    left.words.elementsEqual(right.words) { $0 == $1 }
  }

  package func hash(into hasher: inout Hasher) {
    for word in words {
      hasher.combine(word.name)
      hasher.combine(word.value)
    }
  }
}
