use crate::sys::Moment;

/// The CMOS clock of a PC (MC146818), as much of it as a booting Linux reads. Without an answer
/// it would wait for the update-in-progress bit to clear.
#[derive(Debug, Default)]
pub struct Rtc {
    index: u8,
}

/// Register B: values are BCD, hours count to 24.
const STATUS_B_24H: u8 = 0x02;
/// Register D: the battery is good.
const STATUS_D_VALID: u8 = 0x80;

impl Rtc {
    pub(super) fn select(&mut self, value: u8) {
        self.index = value & 0x7f;
    }

    pub(super) fn read(&self) -> u8 {
        let now = Moment::now().realtime_ns / 1_000_000_000;
        let time = now % 86_400;
        let (year, month, day) = date(now / 86_400);
        match self.index {
            0x00 => bcd(time % 60),
            0x02 => bcd(time / 60 % 60),
            0x04 => bcd(time / 3600),
            0x07 => bcd(day),
            0x08 => bcd(month),
            0x09 => bcd(year % 100),
            0x32 => bcd(year / 100),
            0x0b => STATUS_B_24H,
            0x0d => STATUS_D_VALID,
            _ => 0,
        }
    }
}

fn bcd(value: u64) -> u8 {
    ((value / 10) << 4 | (value % 10)) as u8
}

/// Year, month and day of a day since 1970: "days from civil" turned around, as in Howard
/// Hinnant's "chrono-compatible low-level date algorithms".
fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(11_016), (2000, 2, 29));
        assert_eq!(date(20_088), (2024, 12, 31));
    }
}
