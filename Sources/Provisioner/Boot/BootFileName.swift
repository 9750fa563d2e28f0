package import NetworkTypes

/// What a machine asks for by name before its kernel runs.
package enum BootFileName: Hashable, Sendable {
  case loader(String)
  case kernel(boot: String)
  case initramfs(boot: String)
  /// A script made for one machine; without an address for the one that asks.
  case script(Language, MACAddress?, isAgain: Bool)
  /// The loader says by this name that it could not go on.
  case failure(Failure)
  /// What loaders look for and need not find.
  case optional

  package enum Language: Hashable, Sendable {
    case grub
    case pxelinux
  }

  package struct Failure: Hashable, Sendable {
    package enum Part: String, Hashable, Sendable, CaseIterable {
      case kernel
      case initramfs
      /// Both were loaded.
      case start
    }

    package var boot: String
    package var part: Part
    /// Whether Secure Boot is on: then what is not signed, or was altered, is refused.
    package var isLockedDown: Bool

    /// `failed-kernel`, `refused-kernel` and so on.
    init?(boot: String, name: String) {
      let words = name.split(separator: "-", omittingEmptySubsequences: false)
      guard words.count == 2, words[0] == "failed" || words[0] == "refused", let part = Part(rawValue: String(words[1]))
      else { return nil }
      self.boot = boot
      self.part = part
      isLockedDown = words[0] == "refused"
    }

    var event: String { part == .kernel && isLockedDown ? "kernel refused" : "\(part) failed" }

    var words: String {
      switch part {
      case .kernel where isLockedDown:
        "GRUB refused the kernel: with Secure Boot on it must be unaltered, and signed by a key that the firmware or "
          + "shim trusts"
      case .kernel: "GRUB could not load the kernel"
      case .initramfs: "GRUB could not load the initramfs"
      case .start: "GRUB could not start the kernel"
      }
    }
  }

  /// The boot that a kernel or initramfs belongs to.
  package var boot: String? {
    switch self {
    case .kernel(let boot), .initramfs(let boot): boot
    case .loader, .script, .failure, .optional: nil
    }
  }

  /// Firmware mangles names: backslashes, slashes in front or doubled, rubbish behind, upper case.
  package init?(_ text: String) {
    let clean = text.unicodeScalars.prefix { $0.value >= 32 && $0.value != 127 && $0.value < 128 }
    let parts = String(String.UnicodeScalarView(clean)).lowercased().split { $0 == "/" || $0 == "\\" }.map(String.init)
    switch parts.first {
    case "b" where parts.count == 3:
      switch parts[2] {
      case "kernel": self = .kernel(boot: parts[1])
      case "initramfs": self = .initramfs(boot: parts[1])
      default:
        guard let failure = Failure(boot: parts[1], name: parts[2]) else { return nil }
        self = .failure(failure)
      }
    // GRUB asks for its modules' lists first, then for grub.cfg, or for grub.cfg-UUID, grub.cfg-01-MAC and
    // grub.cfg-HEXADECIMAL-ADDRESS, shortened digit by digit.
    case "grub": self = Self.script(.grub, Array(parts.dropFirst()), own: "grub.cfg", prefix: "grub.cfg-")
    // pxelinux asks for UUID, 01-MAC, HEXADECIMAL-ADDRESS, shortened digit by digit, and default.
    case "pxelinux.cfg": self = Self.script(.pxelinux, Array(parts.dropFirst()), own: "default", prefix: "")
    // What shim looks for beside itself.
    case "revocations.efi", "revocations_sku.efi", "revocations_sbat.efi": self = .optional
    case let name? where parts.count == 1:
      self = name.hasPrefix("shim_certificate") ? .optional : .loader(name)
    default: return nil
    }
  }

  private static func script(_ language: Language, _ parts: [String], own: String, prefix: String) -> BootFileName {
    guard parts.count == 1 else { return .optional }
    if parts[0] == own { return .script(language, nil, isAgain: false) }
    for (prefix, isAgain) in [(prefix, false), ("again-", true)] where parts[0].hasPrefix(prefix + "01-") {
      if let mac = MACAddress(String(parts[0].dropFirst(prefix.count + 3))), mac.isUnicast {
        return .script(language, mac, isAgain: isAgain)
      }
    }
    return .optional
  }
}
