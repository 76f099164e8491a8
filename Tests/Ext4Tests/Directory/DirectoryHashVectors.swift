@testable import Ext4

/// What `debugfs -R "dx_hash -h VERSION -s SEED NAME"` (e2fsprogs 1.47.0, x86-64) prints for
/// `DirectoryHashVector.lengths` bytes of a name: the hash, and the minor hash where there is one.
struct DirectoryHashVector: Sendable {
    enum Bytes { case plain, high }
    enum Seed { case none, given }

    let version: UInt8
    let bytes: Bytes
    let seed: Seed
    let hashes: [UInt32]

    static let lengths = [
        1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 100, 255,
    ]

    /// The name of that many bytes: letters, or bytes of 0x80 and above.
    func name(_ length: Int) -> [UInt8] {
        (0..<length).map { i in
            switch bytes {
            case .plain: UInt8(0x61 + (i * 7 + length * 3) % 26)
            case .high: UInt8(0x80 + (i * 37 + length * 11) % 128)
            }
        }
    }

    /// The seed: the UUID 01234567-89ab-cdef-0123-456789abcdef in words, or zeros.
    var words: (UInt32, UInt32, UInt32, UInt32) {
        switch seed {
        case .none: (0, 0, 0, 0)
        case .given: (0x6745_2301, 0xEFCD_AB89, 0x6745_2301, 0xEFCD_AB89)
        }
    }

    static let all: [DirectoryHashVector] = [
        DirectoryHashVector(
            version: 0, bytes: .plain, seed: .none,
            hashes: [
                0xDF5C_8524, 0xE16F_A23C, 0xC3BD_DD96, 0x4567_21D0, 0x2DC3_DD4A, 0xA226_955E,
                0x0516_ACA6, 0xD872_327A, 0x9AEC_5A18, 0x2ED8_7380, 0x0E58_EAD4, 0xD05A_4F82,
                0xD16E_4BDC, 0x15D1_A308, 0xD701_C4A8, 0x250D_B8EE, 0x3CDD_02F8, 0xF020_948C,
                0x3F74_CC00,
            ]),
        DirectoryHashVector(
            version: 0, bytes: .high, seed: .none,
            hashes: [
                0x28D1_C246, 0x5A63_E130, 0xABE3_6F9E, 0xAE9F_09D0, 0x6875_A2B0, 0xB515_671A,
                0x404F_D9B2, 0x2EC5_C6A2, 0x4946_277C, 0x985B_1C78, 0xA5FA_34DC, 0xDA96_E99E,
                0xA054_6F34, 0x2ADB_3EDC, 0xBBA6_F684, 0x8695_7ECE, 0xDBF3_849A, 0xE783_4A3C,
                0x2B78_A61C,
            ]),
        DirectoryHashVector(
            version: 1, bytes: .plain, seed: .none,
            hashes: [
                0xF5CE_0434, 0x73B6_5B16, 0xC797_CFEA, 0x9F90_CBA4, 0x1BD0_4EFE, 0xF213_47D1,
                0x2927_E39A, 0xB0A2_8845, 0xD59A_674E, 0xBA2D_892C, 0xE158_C9EA, 0xBFC4_F376,
                0xB000_5EDA, 0x9A31_A627, 0x52BD_742C, 0x1F4A_58C6, 0x6832_362A, 0x16BF_92F1,
                0x5BBF_2802, 0xA186_4E6C, 0x44A2_4DD8, 0xD296_8D74, 0x156D_2538, 0xC3FB_DE17,
                0xD6EB_1922, 0x23AB_42DE, 0x3689_4666, 0x878B_AF27, 0xE83E_32E8, 0xD76D_4507,
                0x4F84_9D9C, 0x929F_0352, 0xEB27_9CF2, 0x5738_E786, 0x9A94_A776, 0xCA82_3D04,
                0xCDB7_EAB4, 0xDFAF_BAB1,
            ]),
        DirectoryHashVector(
            version: 1, bytes: .plain, seed: .given,
            hashes: [
                0xA8CC_C11C, 0xCDBA_152D, 0xD5E3_29A2, 0x98C2_91B5, 0xBBC3_5B94, 0x0644_B8A0,
                0xA200_4D60, 0xABB5_3E3D, 0x7CDF_1160, 0x2B1A_47AD, 0x7F4D_A6AE, 0xD76E_92B5,
                0xB07F_7FAC, 0x3178_0D3C, 0x5027_4D8A, 0xB353_A155, 0xBDD2_83EE, 0x6518_222E,
                0x5B15_647E, 0xDD4F_4AF6, 0x463B_EEFC, 0x8C85_A8A5, 0x13DC_91C2, 0x1122_EC32,
                0x8CC4_87A8, 0x8379_4B8B, 0x8DE1_4F7C, 0xF3BA_0744, 0x5E0D_7668, 0x79BF_DBAB,
                0xEC66_22C8, 0x34C1_9D42, 0x16BF_721C, 0xBE12_03DD, 0x00B2_CC24, 0x4DDC_904A,
                0x3D6B_95BE, 0x30B7_3DCD,
            ]),
        DirectoryHashVector(
            version: 1, bytes: .high, seed: .none,
            hashes: [
                0xD2E9_09CE, 0x05A6_ABB8, 0xE144_C78C, 0x8492_7784, 0x1674_FF4C, 0x3A10_7985,
                0x9A3F_316A, 0xE89B_A6EF, 0x1B14_1D32, 0x2C52_B5F5, 0x5968_B17E, 0x2718_7513,
                0x116D_43A2, 0xC0AC_C410, 0xBA48_9664, 0xEC60_9ACE, 0xD47D_BEBC, 0xFDEB_0632,
                0xEF0A_1ABE, 0x0C2E_DFD7, 0x9C25_B352, 0x1F18_2190, 0xB827_3F9A, 0xDF8E_F75C,
                0x0496_4B9C, 0x33C9_798D, 0xCCC2_A952, 0x2243_6FC3, 0xB904_9740, 0xA9FB_F4E4,
                0xEDB9_2E82, 0x0849_5F10, 0x82F0_5386, 0x06DF_C455, 0xCB24_3D2A, 0x0F3E_DE3E,
                0xE824_6730, 0x2C06_B88F,
            ]),
        DirectoryHashVector(
            version: 1, bytes: .high, seed: .given,
            hashes: [
                0xA932_7D76, 0xCCD0_59F3, 0x3BEE_3F58, 0x4905_55C3, 0x7645_E0BE, 0x2546_02C8,
                0x6EF6_ED06, 0x8866_9D12, 0x11A2_B296, 0x351A_29C2, 0x9FD6_958E, 0x7A9E_EA2C,
                0x67F4_CF80, 0x11ED_5FFD, 0x8962_9878, 0xF9D3_A4AD, 0xC326_1990, 0x3ACB_7998,
                0x0AE1_3CB2, 0x47B4_B135, 0xEEE9_9752, 0x1801_5890, 0x579F_6852, 0x34BD_0EA6,
                0x0853_C6F0, 0x354F_8524, 0xB989_8AD2, 0xBF20_1BD8, 0x52CA_69F4, 0xF3B4_DA14,
                0xDDAB_F8A8, 0x9B23_0BF3, 0x8333_81D6, 0xE5B2_7A6A, 0xA30C_7EA2, 0xA623_BE68,
                0x6082_0FD6, 0xB043_4B37,
            ]),
        DirectoryHashVector(
            version: 2, bytes: .plain, seed: .none,
            hashes: [
                0x3FF1_307E, 0x16F6_7813, 0xD3E2_9EDE, 0x8F23_7989, 0x418F_613E, 0x15EB_D572,
                0x3CC5_0284, 0xC45E_2553, 0xAA47_7AFE, 0x67A6_B112, 0x4393_C254, 0x882C_E0D5,
                0xFB60_079C, 0x5B05_A7EC, 0x6903_0D5C, 0xFC77_9C0C, 0x4DFE_5EF6, 0x42EA_1265,
                0x3583_2FB0, 0x4E08_1E55, 0x11F0_6E9A, 0xB93F_B5E7, 0x76CB_E16E, 0x6D4E_28C5,
                0x88A6_D82E, 0x26EF_8F45, 0x091A_35CA, 0x2BE0_D032, 0xD31A_F90C, 0x59A1_34A8,
                0x8199_8FCA, 0x123D_4F27, 0xF8DD_7AC8, 0xAF03_8176, 0xC43F_1720, 0xE27F_EDBA,
                0x4770_780A, 0xA0EE_3F86,
            ]),
        DirectoryHashVector(
            version: 2, bytes: .plain, seed: .given,
            hashes: [
                0x3FF1_307E, 0x16F6_7813, 0xD3E2_9EDE, 0x8F23_7989, 0x418F_613E, 0x15EB_D572,
                0x3CC5_0284, 0xC45E_2553, 0xAA47_7AFE, 0x67A6_B112, 0x4393_C254, 0x882C_E0D5,
                0xFB60_079C, 0x5B05_A7EC, 0x6903_0D5C, 0xFC77_9C0C, 0x4DFE_5EF6, 0x42EA_1265,
                0x3583_2FB0, 0x4E08_1E55, 0x11F0_6E9A, 0xB93F_B5E7, 0x76CB_E16E, 0x6D4E_28C5,
                0x88A6_D82E, 0x26EF_8F45, 0x091A_35CA, 0x2BE0_D032, 0xD31A_F90C, 0x59A1_34A8,
                0x8199_8FCA, 0x123D_4F27, 0xF8DD_7AC8, 0xAF03_8176, 0xC43F_1720, 0xE27F_EDBA,
                0x4770_780A, 0xA0EE_3F86,
            ]),
        DirectoryHashVector(
            version: 2, bytes: .high, seed: .none,
            hashes: [
                0xCB7C_DDF0, 0x3C82_3768, 0x906E_4416, 0x1594_3B14, 0xC724_B75A, 0x1C33_4DA7,
                0xA744_0888, 0x2FC8_3F58, 0x5387_F220, 0xA01E_B03B, 0xD143_D0E8, 0xB9DC_3400,
                0x5FF1_C598, 0x2C5D_170A, 0xF0E4_3154, 0x7A59_14E5, 0x5A1E_C7EC, 0xBFAA_7743,
                0x1B9F_3578, 0xB1AB_3FF0, 0x15B8_1CF8, 0xF747_D070, 0x4165_0D5A, 0xBEC1_9FF9,
                0x6598_B072, 0x9D82_8340, 0xA0F3_9768, 0x0A2F_EF38, 0x6EE4_0340, 0xB00A_B9CB,
                0x376D_15A4, 0xA474_632D, 0x272C_D774, 0x87DB_DD04, 0x6C9C_3AE6, 0x3AA5_8AC8,
                0x0B35_B6B8, 0x26E1_A30B,
            ]),
        DirectoryHashVector(
            version: 2, bytes: .high, seed: .given,
            hashes: [
                0xCB7C_DDF0, 0x3C82_3768, 0x906E_4416, 0x1594_3B14, 0xC724_B75A, 0x1C33_4DA7,
                0xA744_0888, 0x2FC8_3F58, 0x5387_F220, 0xA01E_B03B, 0xD143_D0E8, 0xB9DC_3400,
                0x5FF1_C598, 0x2C5D_170A, 0xF0E4_3154, 0x7A59_14E5, 0x5A1E_C7EC, 0xBFAA_7743,
                0x1B9F_3578, 0xB1AB_3FF0, 0x15B8_1CF8, 0xF747_D070, 0x4165_0D5A, 0xBEC1_9FF9,
                0x6598_B072, 0x9D82_8340, 0xA0F3_9768, 0x0A2F_EF38, 0x6EE4_0340, 0xB00A_B9CB,
                0x376D_15A4, 0xA474_632D, 0x272C_D774, 0x87DB_DD04, 0x6C9C_3AE6, 0x3AA5_8AC8,
                0x0B35_B6B8, 0x26E1_A30B,
            ]),
        DirectoryHashVector(
            version: 3, bytes: .plain, seed: .none,
            hashes: [
                0xDF5C_8524, 0xE16F_A23C, 0xC3BD_DD96, 0x4567_21D0, 0x2DC3_DD4A, 0xA226_955E,
                0x0516_ACA6, 0xD872_327A, 0x9AEC_5A18, 0x2ED8_7380, 0x0E58_EAD4, 0xD05A_4F82,
                0xD16E_4BDC, 0x15D1_A308, 0xD701_C4A8, 0x250D_B8EE, 0x3CDD_02F8, 0xF020_948C,
                0x3F74_CC00,
            ]),
        DirectoryHashVector(
            version: 3, bytes: .high, seed: .none,
            hashes: [
                0xC31B_DC46, 0x7BD3_C930, 0x2BE7_C3A0, 0xD160_FC24, 0x7F54_E2A0, 0xDD52_711E,
                0xBBD6_8758, 0xA816_2822, 0x1EB4_6242, 0x3E62_2A90, 0x3465_5C2E, 0x26CF_1D26,
                0x4B56_4A08, 0x9D89_A492, 0xBFBE_90F4, 0x26A1_F2CC, 0x0251_63BA, 0xEB00_25E8,
                0x7E87_622A,
            ]),
        DirectoryHashVector(
            version: 4, bytes: .plain, seed: .none,
            hashes: [
                0xF5CE_0434, 0x73B6_5B16, 0xC797_CFEA, 0x9F90_CBA4, 0x1BD0_4EFE, 0xF213_47D1,
                0x2927_E39A, 0xB0A2_8845, 0xD59A_674E, 0xBA2D_892C, 0xE158_C9EA, 0xBFC4_F376,
                0xB000_5EDA, 0x9A31_A627, 0x52BD_742C, 0x1F4A_58C6, 0x6832_362A, 0x16BF_92F1,
                0x5BBF_2802, 0xA186_4E6C, 0x44A2_4DD8, 0xD296_8D74, 0x156D_2538, 0xC3FB_DE17,
                0xD6EB_1922, 0x23AB_42DE, 0x3689_4666, 0x878B_AF27, 0xE83E_32E8, 0xD76D_4507,
                0x4F84_9D9C, 0x929F_0352, 0xEB27_9CF2, 0x5738_E786, 0x9A94_A776, 0xCA82_3D04,
                0xCDB7_EAB4, 0xDFAF_BAB1,
            ]),
        DirectoryHashVector(
            version: 4, bytes: .plain, seed: .given,
            hashes: [
                0xA8CC_C11C, 0xCDBA_152D, 0xD5E3_29A2, 0x98C2_91B5, 0xBBC3_5B94, 0x0644_B8A0,
                0xA200_4D60, 0xABB5_3E3D, 0x7CDF_1160, 0x2B1A_47AD, 0x7F4D_A6AE, 0xD76E_92B5,
                0xB07F_7FAC, 0x3178_0D3C, 0x5027_4D8A, 0xB353_A155, 0xBDD2_83EE, 0x6518_222E,
                0x5B15_647E, 0xDD4F_4AF6, 0x463B_EEFC, 0x8C85_A8A5, 0x13DC_91C2, 0x1122_EC32,
                0x8CC4_87A8, 0x8379_4B8B, 0x8DE1_4F7C, 0xF3BA_0744, 0x5E0D_7668, 0x79BF_DBAB,
                0xEC66_22C8, 0x34C1_9D42, 0x16BF_721C, 0xBE12_03DD, 0x00B2_CC24, 0x4DDC_904A,
                0x3D6B_95BE, 0x30B7_3DCD,
            ]),
        DirectoryHashVector(
            version: 4, bytes: .high, seed: .none,
            hashes: [
                0xFF4E_9D7E, 0xE900_B8DD, 0x0E62_47E8, 0x9491_7610, 0xD618_A1A8, 0xE477_5F26,
                0xC28F_5412, 0x400C_34EF, 0xD900_F818, 0x16F6_9480, 0x0DA3_EF36, 0x147F_3283,
                0x2A2A_6842, 0x113E_9FE5, 0xBF42_DD68, 0xFD71_357E, 0xF470_ADEE, 0x06F6_F0EF,
                0x634B_FD9E, 0xF8FB_08B1, 0xEE0E_CD3C, 0x12A2_94E5, 0x4C06_2F38, 0x6D5A_78AA,
                0x75FB_38D4, 0x5C59_446C, 0xE209_CAB4, 0xBAA8_52B7, 0xBC5E_3E1E, 0xC158_B8E7,
                0x7113_A78C, 0x3BFE_24C0, 0x20DB_B5F2, 0xC1EC_B19F, 0xCF65_4AA6, 0x767A_4000,
                0x3630_3DFC, 0xE255_3A0B,
            ]),
        DirectoryHashVector(
            version: 4, bytes: .high, seed: .given,
            hashes: [
                0x35C4_E6A4, 0x66E2_1E94, 0xA814_58E0, 0x555F_C5CD, 0x288D_7254, 0xCA16_62A7,
                0xAE10_99EA, 0xA0D6_975A, 0xD5CB_6428, 0xB569_8398, 0xD3EF_9858, 0xE511_EB43,
                0xDD49_A328, 0x65A0_B05D, 0x2C97_B39A, 0xD3AC_7F34, 0xBF3D_6952, 0xA75A_38B0,
                0xC560_6B7E, 0xAE29_3590, 0xDFD7_30EE, 0x1D45_B271, 0x6A3D_C5C6, 0xBCF2_BC68,
                0xD2A5_F8EC, 0x8D6C_4DD9, 0x5FB1_5222, 0x01F5_BAB8, 0x25A8_6028, 0x3B64_B061,
                0xA7F6_F816, 0x4BC1_AD40, 0xD2AB_0EB6, 0x80DC_B774, 0x832F_B6E2, 0xAA0F_94F6,
                0x76F3_86DC, 0xF09C_9098,
            ]),
        DirectoryHashVector(
            version: 5, bytes: .plain, seed: .none,
            hashes: [
                0x3FF1_307E, 0x16F6_7813, 0xD3E2_9EDE, 0x8F23_7989, 0x418F_613E, 0x15EB_D572,
                0x3CC5_0284, 0xC45E_2553, 0xAA47_7AFE, 0x67A6_B112, 0x4393_C254, 0x882C_E0D5,
                0xFB60_079C, 0x5B05_A7EC, 0x6903_0D5C, 0xFC77_9C0C, 0x4DFE_5EF6, 0x42EA_1265,
                0x3583_2FB0, 0x4E08_1E55, 0x11F0_6E9A, 0xB93F_B5E7, 0x76CB_E16E, 0x6D4E_28C5,
                0x88A6_D82E, 0x26EF_8F45, 0x091A_35CA, 0x2BE0_D032, 0xD31A_F90C, 0x59A1_34A8,
                0x8199_8FCA, 0x123D_4F27, 0xF8DD_7AC8, 0xAF03_8176, 0xC43F_1720, 0xE27F_EDBA,
                0x4770_780A, 0xA0EE_3F86,
            ]),
        DirectoryHashVector(
            version: 5, bytes: .plain, seed: .given,
            hashes: [
                0x3FF1_307E, 0x16F6_7813, 0xD3E2_9EDE, 0x8F23_7989, 0x418F_613E, 0x15EB_D572,
                0x3CC5_0284, 0xC45E_2553, 0xAA47_7AFE, 0x67A6_B112, 0x4393_C254, 0x882C_E0D5,
                0xFB60_079C, 0x5B05_A7EC, 0x6903_0D5C, 0xFC77_9C0C, 0x4DFE_5EF6, 0x42EA_1265,
                0x3583_2FB0, 0x4E08_1E55, 0x11F0_6E9A, 0xB93F_B5E7, 0x76CB_E16E, 0x6D4E_28C5,
                0x88A6_D82E, 0x26EF_8F45, 0x091A_35CA, 0x2BE0_D032, 0xD31A_F90C, 0x59A1_34A8,
                0x8199_8FCA, 0x123D_4F27, 0xF8DD_7AC8, 0xAF03_8176, 0xC43F_1720, 0xE27F_EDBA,
                0x4770_780A, 0xA0EE_3F86,
            ]),
        DirectoryHashVector(
            version: 5, bytes: .high, seed: .none,
            hashes: [
                0x9001_08D8, 0x2DE1_D482, 0x6DD0_7E7A, 0x9A53_7A7A, 0xDDCD_B002, 0x29C1_F0A1,
                0x8C72_F346, 0x3CFF_A490, 0xFFD2_D51E, 0x4929_AE76, 0xBD34_EA8E, 0xE75C_E66C,
                0x55D9_8D7C, 0x3157_5959, 0x5008_9C3E, 0xFB69_E9B7, 0xEB31_A440, 0xE251_3F69,
                0xEF6D_36FC, 0xF70C_E218, 0x850F_E02A, 0xCF4E_3971, 0x3343_95AC, 0x4FA8_001B,
                0x4743_DFFC, 0x8110_1A23, 0x9C3D_39D8, 0xF5F7_18EF, 0xE727_1148, 0xDC1C_D38D,
                0xF8BC_98DC, 0x285A_9D4E, 0xB1A1_CB7E, 0x352E_E5E3, 0x982C_8C64, 0xC679_38B5,
                0x9351_0574, 0xA8C9_C3DE,
            ]),
        DirectoryHashVector(
            version: 5, bytes: .high, seed: .given,
            hashes: [
                0x9001_08D8, 0x2DE1_D482, 0x6DD0_7E7A, 0x9A53_7A7A, 0xDDCD_B002, 0x29C1_F0A1,
                0x8C72_F346, 0x3CFF_A490, 0xFFD2_D51E, 0x4929_AE76, 0xBD34_EA8E, 0xE75C_E66C,
                0x55D9_8D7C, 0x3157_5959, 0x5008_9C3E, 0xFB69_E9B7, 0xEB31_A440, 0xE251_3F69,
                0xEF6D_36FC, 0xF70C_E218, 0x850F_E02A, 0xCF4E_3971, 0x3343_95AC, 0x4FA8_001B,
                0x4743_DFFC, 0x8110_1A23, 0x9C3D_39D8, 0xF5F7_18EF, 0xE727_1148, 0xDC1C_D38D,
                0xF8BC_98DC, 0x285A_9D4E, 0xB1A1_CB7E, 0x352E_E5E3, 0x982C_8C64, 0xC679_38B5,
                0x9351_0574, 0xA8C9_C3DE,
            ]),
    ]
}
