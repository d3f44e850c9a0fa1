package picture

import androidx.test.ext.junit.runners.AndroidJUnit4
import androidx.test.platform.app.InstrumentationRegistry
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith

/** On a phone or an emulator: the model says there what it said where it was proven. */
@RunWith(AndroidJUnit4::class)
class GoldenTest {
    private val context = InstrumentationRegistry.getInstrumentation().targetContext
    private val about = About(context.assets)

    @Test
    fun goldenPicturesGetTheirAnswers() = Model.open(context, about).use { model ->
        val rows = Golden.all(context.assets)
        assertTrue("there are no golden pictures", rows.isNotEmpty())
        rows.forEach { row ->
            assertEquals(row.file, 0.0, row.difference(model.ask(row.picture()), about), about.tolerance)
        }
    }
}
