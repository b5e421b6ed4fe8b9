use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(known: Known, text: &str) {
    let mut image = Vec::new();
    from_text(known, text, &mut image).unwrap();
    assert_eq!(to_text(known, &image).as_deref(), Some(text));
}

#[test]
fn texts_come_back() {
    check(Known::Inet, "::ffff:1.2.3.4/120");
    check(Known::Cidr, "10.0.0.0/8");
    check(Known::Varbit, "1011000101");
    check(Known::Interval, "-1 years -2 mons +3 days -04:05:06.07");
    check(Known::TimeTz, "24:00:00-15:59:59");
    check(Known::Polygon, "((0.1,-0),(1e+20,1e-05))");
    check(Known::Tsvector, "'a''b':1A,2 'c\\\\d'");
    let ranges = "{(,\"0044-03-15 BC\"),[infinity,infinity]}";
    check(Known::Multirange(Element::Date), ranges);
}

#[test]
fn what_prints_alike_travels_as_its_image() {
    let nan = [[0xFF, 0xF8, 0, 0, 0, 0, 0, 1], [0; 8]].concat();
    assert_eq!(encode(Known::Point, &nan, &mut Vec::new()), Ok(Fit::Exact));
    assert_eq!(
        encode(Known::Char, &[0x80], &mut Vec::new()),
        Ok(Fit::Exact)
    );
}

#[test]
fn an_image_of_another_layout_is_an_error() {
    for (_, name, known) in KNOWN {
        let expected = Err(ValueError::Image {
            expected: name,
            length: 3,
        });
        assert_eq!(encode(known, &[0, 0, 0], &mut Vec::new()), expected);
    }
}

#[test]
fn floats_print_as_postgres_prints_them() {
    // select '1e23'::float8, 2::float8 ^ -25, on Postgres 15: Rust's shortest texts are 1e23, which
    // lies midway between two floats, and ...313e-8, which rounds a tie up.
    assert_eq!(float::to_text(1e23_f64.to_bits()), "9.999999999999999e+22");
    let tie = 2_f64.powi(-25).to_bits();
    assert_eq!(float::to_text(tie), "2.9802322387695312e-08");
}

proptest! {
    #[test]
    fn random_bytes_never_panic_and_never_swell(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        for (_, _, known) in KNOWN {
            let mut datum = Vec::new();
            let _ = encode(known, &bytes, &mut datum);
            // A numeric of eight bytes may print 131,072 digits, in Postgres too.
            prop_assert!(datum.len() < 2_000_000);
            let mut image = Vec::new();
            let _ = decode(known, &String::from_utf8_lossy(&bytes), &mut image);
            prop_assert!(image.len() < 4_096);
        }
    }

    #[test]
    fn random_texts_of_the_right_letters_never_panic(
        text in "[-+0-9aefinty:/., ()\\[\\]{}<>\"'\\\\TBCNyears]{0,40}"
    ) {
        for (_, _, known) in KNOWN {
            let mut image = Vec::new();
            let _ = decode(known, &text, &mut image);
            prop_assert!(image.len() < 4_096);
        }
    }

    #[test]
    fn every_float_comes_back(bits in any::<u64>()) {
        let value = f64::from_bits(bits);
        prop_assume!(!value.is_nan());
        prop_assert_eq!(float::from_text(&float::to_text(bits)), Some(bits));
    }

    #[test]
    fn every_timestamp_comes_back(micros in any::<i64>(), days in any::<i32>()) {
        for element in [Element::Timestamp, Element::TimestampTz] {
            let mut image = vec![0, 0, 0, 0, 8];
            image.extend(micros.to_be_bytes());
            image.extend([0, 0, 0, 8]);
            image.extend(i64::MAX.to_be_bytes());
            prop_assert_eq!(encode(Known::Range(element), &image, &mut Vec::new()), Ok(Fit::Typed));
        }
        let mut image = vec![0x10, 0, 0, 0, 4];
        image.extend(days.to_be_bytes());
        let dates = Known::Range(Element::Date);
        prop_assert_eq!(encode(dates, &image, &mut Vec::new()), Ok(Fit::Typed));
    }

    #[test]
    fn every_interval_comes_back(micros in any::<i64>(), days in any::<i32>(), months in any::<i32>()) {
        let mut image = micros.to_be_bytes().to_vec();
        image.extend(days.to_be_bytes());
        image.extend(months.to_be_bytes());
        prop_assert_eq!(encode(Known::Interval, &image, &mut Vec::new()), Ok(Fit::Typed));
    }

    #[test]
    fn every_address_comes_back(words in prop::array::uniform8(0..3_u16), bits in 0..=128_u8) {
        let mut image = vec![3, bits, 0, 16];
        image.extend(words.iter().flat_map(|word| (word * 0x7FFF).to_be_bytes()));
        prop_assert_eq!(encode(Known::Inet, &image, &mut Vec::new()), Ok(Fit::Typed));
    }
}
